"""Where and when it runs: the contract of a fleet, virtual time, Ray, shared memory. Imports runs and all below."""
