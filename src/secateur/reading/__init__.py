"""Spike recordings in their many formats, read into binary words."""
