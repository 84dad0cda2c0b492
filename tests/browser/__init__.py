"""What people see: streamd's pages in a real Chromium."""
