"""What people look at: tables, the live display and plain lines."""
