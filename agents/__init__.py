"""Learners (PPO, DQN), their networks, replay buffer and run folders. Nothing is imported here."""
