"""Tests of the rules: events in, decision, events or a refusal out."""
