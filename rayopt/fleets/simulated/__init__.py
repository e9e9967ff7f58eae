"""Virtual time: the clock, values on demand, and the fleet of both. Imports runs and all below."""
