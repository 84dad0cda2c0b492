"""The commands of `streamd`, one module each."""
