"""What a sweep file consists of: its text, its sections, its checks. `tuner.sweep` puts them together."""
