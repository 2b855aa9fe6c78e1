"""What outlives a process: one small class over one path each."""
