"""Tuning: the best step size and parameters of each method, chosen on some seeds and confirmed on others."""
