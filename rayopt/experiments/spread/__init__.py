"""Many runs at once, over processes of this machine or over a Ray cluster; imports storage, runs, fleets and below."""
