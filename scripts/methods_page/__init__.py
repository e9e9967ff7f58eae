"""The page of the methods: its text from their docstrings, its figures from short runs."""
