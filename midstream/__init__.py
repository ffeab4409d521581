"""Midstream: one server between your applications and every model."""

__version__ = "0.1.0"
