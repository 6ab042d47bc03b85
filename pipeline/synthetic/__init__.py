"""The embedded default corpus: synthetic talking faces with planted truth, a demonstration and a test bed."""
