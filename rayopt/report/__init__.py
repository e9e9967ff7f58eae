"""What an experiment found, for people: tables, figures, and progress while it runs."""
