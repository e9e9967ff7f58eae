"""Profiles of fleets: how long gradients and messages take on real machines, and which law they follow."""
