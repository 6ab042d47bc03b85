"""Readers of corpora as they lie on disk, by name, and the making of a manifest from one of them."""

from pipeline.corpora.making import Summary, make_manifest
from pipeline.corpora.readers import CORPORA, make_reader, read_corpus

__all__ = ["CORPORA", "Summary", "make_manifest", "make_reader", "read_corpus"]
