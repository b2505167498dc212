"""Many runs: what the paper states, its reproduction, searches, chapters, sweeps, clusters.

Everything here may use the rest of the package, which uses nothing of it.
"""
