"""What pictures look like: domains, and the look that each episode draws from one."""
