"""Methods without a server: a program for each node of a network."""
