"""Random faults against small projects: `make test-faults` (python -m tests.faults)."""
