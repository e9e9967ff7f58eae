"""What an experiment found, for people: tables, figures, progress. Imports experiments and all below."""
