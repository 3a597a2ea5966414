"""Planning: rule-based drivers, tree search, trajectory planning and the safety shield."""
