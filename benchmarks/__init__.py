"""Measurements: one question a package, each run by one command, each result with the machine it was taken on."""
