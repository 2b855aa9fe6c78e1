"""What prints, and what draws the steps of a run while they go on."""
