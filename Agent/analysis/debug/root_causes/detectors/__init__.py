"""Detectors: each reads a log and yields findings, independently of the others."""
