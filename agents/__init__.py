"""Agents: learners that drive, and what they are made of."""
