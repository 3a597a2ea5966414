"""Small networks for driving policies: five torsos, an actor-critic and a Q-network.

Shapes: B samples (worlds, or a mini-batch), K rows (the ego and tracked vehicles), F features, A actions
(their number if discrete, their dimension if continuous), D width of the torso's output, H attention heads.
A grid [F, X, Y] holds F features in each of X by Y cells; a picture [F, X, Y] holds bytes, F of them a pixel.

Source of ego-attention: Leurent and Mercat 2019, "Social Attention for Autonomous Decision-Making in Dense
Traffic".
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from agents.spaces import Spaces
from agents.standardize import AsSeen, Standardize

LOG_2PI = math.log(2.0 * math.pi)
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class Config:
    """Shape of a network."""

    torso: Literal["auto", "mlp", "attention", "lanes", "cnn", "pixels"] = "auto"
    """mlp: flattened observation; attention: the ego row attends to all rows (observations [K, F]); lanes: an MLP over
    the rows put in order by lane (Kinematics observations of a straight road); cnn: two convolutions and an MLP
    (observations [F, X, Y]); pixels: two larger ones for pictures; auto: lanes where they can be read, pixels for
    pictures, cnn for grids of at least 8 x 8 cells, else mlp."""
    hidden: tuple[int, ...] = (96, 64)
    """Units of each hidden layer (attention: of the layers that embed one row)."""
    channels: tuple[int, int] = (16, 32)
    """Channels of the two convolutions (cnn and pixels only)."""
    heads: int = 2
    """Attention heads (attention only); divides the last number of `hidden`."""
    activation: Literal["tanh", "relu"] = "relu"
    """Non-linearity after each hidden layer."""
    shared: bool = False
    """Whether actor and critic share one torso (actor-critic only)."""


def _linear(inputs: int, outputs: int, gain: float, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """A linear layer of orthogonal weights drawn from `generator`, not torch's global RNG; zero bias."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _layers(sizes: tuple[int, ...], activation: str, generator: torch.Generator) -> nn.Sequential:
    """Linear layers of the given sizes, each followed by the non-linearity."""
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [_linear(inputs, outputs, math.sqrt(2.0), generator), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules)


class MlpTorso(nn.Module):
    """Flattens the observation and passes it through fully connected layers."""

    def __init__(self, config: Config, spaces: Spaces, generator: torch.Generator):
        super().__init__()
        self.layers = _layers((math.prod(spaces.observation), *config.hidden), config.activation, generator)

    def prepare(self, observation: Tensor, raw: Tensor) -> Tensor:
        """Standardised and raw observation [B, ...] -> the input of `forward`, computed once a sample."""
        return observation

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, ...] -> [B, D]."""
        return self.layers(inputs.flatten(1))


class EgoAttention(nn.Module):
    """The ego row queries all rows; the others' order does not matter, and absent vehicles get no weight.

    Only the ego asks, so keys and values of single rows are never formed: q . (W_k t) = (W_k' q) . t, and the
    weighted mean of W_v t is W_v times the weighted mean of t. Same numbers, a quarter of the work at K = 5.
    """

    def __init__(self, config: Config, spaces: Spaces, generator: torch.Generator):
        super().__init__()
        if len(spaces.observation) != 2:
            raise ValueError(f"the attention torso needs [K, F] observations, got shape {list(spaces.observation)}")
        width = config.hidden[-1]
        if config.heads < 1 or width % config.heads:
            raise ValueError(f"heads={config.heads} must divide the last of hidden={list(config.hidden)}")
        self.presence, self.heads = spaces.presence, config.heads
        sizes = (spaces.observation[1], *config.hidden)
        self.ego = _layers(sizes, config.activation, generator)
        self.others = _layers(sizes, config.activation, generator)
        self.query = _linear(width, width, 1.0, generator, bias=False)
        self.key = _linear(width, width, 1.0, generator, bias=False)
        self.value = _linear(width, width, 1.0, generator, bias=False)
        self.combine = _linear(width, width, 1.0, generator, bias=False)
        self.out = _layers((width, width), config.activation, generator)

    def weights(self, observation: Tensor, ego: Tensor, rows: Tensor) -> Tensor:
        """Attention of the ego ([B, D]) to each row ([B, K, D]): [B, H, K], summing to 1 over K."""
        batch, width = ego.shape
        query = self.query(ego).view(batch, self.heads, width // self.heads).transpose(0, 1)  # [H, B, D/H]
        key = self.key.weight.view(self.heads, -1, width)  # [H, D/H, D]
        query = torch.bmm(query, key).transpose(0, 1)  # [B, H, D]
        scores = torch.bmm(query, rows.transpose(1, 2)) * (width // self.heads) ** -0.5  # [B, H, K]
        if self.presence is not None:
            absent = observation[:, :, self.presence] == 0
            absent[:, 0] = False  # the ego is always there, so the softmax never runs over nothing
            scores = scores.masked_fill(absent[:, None], -torch.inf)
        return scores.softmax(-1)

    def prepare(self, observation: Tensor, raw: Tensor) -> Tensor:
        """As `MlpTorso.prepare`."""
        return observation

    def forward(self, observation: Tensor) -> Tensor:
        """[B, K, F] -> [B, D]."""
        ego = self.ego(observation[:, 0])
        rows = torch.cat((ego[:, None], self.others(observation[:, 1:])), dim=1)  # [B, K, D]
        batch, _, width = rows.shape
        mean = torch.bmm(self.weights(observation, ego, rows), rows)  # [B, H, D]
        value = self.value.weight.view(self.heads, -1, width)  # [H, D/H, D]
        attended = torch.bmm(mean.transpose(0, 1), value.transpose(1, 2))  # [H, B, D/H]
        attended = attended.transpose(0, 1).reshape(batch, width)
        return self.out((self.combine(attended) + ego) * 0.5)


class LaneTorso(nn.Module):
    """Puts the rows into slots by lane, then passes them through fully connected layers.

    Kinematics sorts its rows by distance, so a row is now the car ahead, now one two lanes away, and an MLP must first
    learn to tell them apart. A slot is a lane beside the ego (`REACH` to either side) and a rank of nearness in it.
    """

    REACH = 2  # lanes to either side; vehicles further away are left out
    RANKS = 2  # vehicles kept a lane, nearest first
    EMPTY_X = 3.0  # standardised distance of a vehicle that is not there: far away

    def __init__(self, config: Config, spaces: Spaces, generator: torch.Generator):
        super().__init__()
        if spaces.lane is None or spaces.presence is None or len(spaces.observation) != 2:
            raise ValueError("the lanes torso needs a Kinematics observation with presence, x and y")
        self.lane, self.presence = spaces.lane, spaces.presence
        features = spaces.observation[1]
        self.slots = (2 * self.REACH + 1) * self.RANKS
        self.layers = _layers(((self.slots + 1) * features, *config.hidden), config.activation, generator)

    def prepare(self, observation: Tensor, raw: Tensor) -> Tensor:
        """Standardised and raw [B, K, F] -> [B, 1 + slots, F], the ego first; empty slots are absent and far away."""
        lane = self.lane
        across = raw[:, 1:, lane.y] - (raw[:, :1, lane.y] if lane.absolute else 0.0)
        beside = (across / lane.pitch).round().long().clamp(-self.REACH - 1, self.REACH + 1) + self.REACH  # [B, K - 1]
        there = (raw[:, 1:, self.presence] != 0) & (beside >= 0) & (beside <= 2 * self.REACH)
        same = (beside[:, :, None] == beside[:, None, :]) & there[:, None, :]
        rank = same.tril(-1).sum(-1)  # rows come nearest first
        spare = self.slots  # a slot for what is left out
        slot = torch.where(there & (rank < self.RANKS), beside * self.RANKS + rank, spare)
        empty = observation.new_zeros(observation.shape[2])
        empty[lane.x] = self.EMPTY_X
        arranged = empty.repeat(len(observation), 1 + self.slots + 1, 1)
        arranged[:, 0] = observation[:, 0]
        arranged.scatter_(1, 1 + slot[:, :, None].expand_as(observation[:, 1:]), observation[:, 1:])
        return arranged[:, : 1 + spare]

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, 1 + slots, F] -> [B, D]."""
        return self.layers(inputs.flatten(1))


class CnnTorso(nn.Module):
    """Two convolutions, each of which halves the grid, then fully connected layers."""

    WINDOWS = ((3, 2, 1), (3, 2, 1))
    """Cells of each convolution's window, of its stride, and of the margin around the grid."""
    LEAST_CELLS = 8
    """Cells along each side of a grid below which an MLP sees as much."""

    def __init__(self, config: Config, spaces: Spaces, generator: torch.Generator):
        super().__init__()
        if len(spaces.observation) != 3:
            raise ValueError(f"the cnn torso needs [F, X, Y] observations, got shape {list(spaces.observation)}")
        features, *cells = spaces.observation
        modules: list[nn.Module] = []
        sizes = zip(itertools.pairwise((features, *config.channels)), self.WINDOWS, strict=True)
        for (inputs, outputs), (window, stride, padding) in sizes:
            layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, window, stride, padding)
            nn.init.orthogonal_(layer.weight, math.sqrt(2.0), generator=generator)
            nn.init.zeros_(layer.bias)
            modules += [layer, ACTIVATIONS[config.activation]()]
            cells = [(size + 2 * padding - window) // stride + 1 for size in cells]
        if min(cells) < 1:
            raise ValueError(f"observations {list(spaces.observation)} are too small for this torso's convolutions")
        self.convolutions = nn.Sequential(*modules)
        self.layers = _layers((config.channels[-1] * math.prod(cells), *config.hidden), config.activation, generator)

    def prepare(self, observation: Tensor, raw: Tensor) -> Tensor:
        """As `MlpTorso.prepare`."""
        return observation

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, F, X, Y] -> [B, D]."""
        return self.layers(self.convolutions(inputs).flatten(1))


class PixelTorso(CnnTorso):
    """Two convolutions, which shrink a picture to an eighth, then fully connected layers.

    Mnih et al. 2013 ("Playing Atari with Deep Reinforcement Learning"), with a margin so that small pictures fit.
    """

    WINDOWS = ((8, 4, 2), (4, 2, 1))
    WHITE = 255.0

    def forward(self, inputs: Tensor) -> Tensor:
        """Bytes [B, F, X, Y] -> [B, D]. They become numbers here, so that rollouts and mini-batches stay small."""
        return super().forward(inputs.float() / self.WHITE)


TORSOS = {"mlp": MlpTorso, "attention": EgoAttention, "lanes": LaneTorso, "cnn": CnnTorso, "pixels": PixelTorso}
POOLED = {"mlp": None, "attention": "rows", "lanes": "rows", "cnn": "cells"}
"""What shares its statistics in the observation of each torso (see `Standardize`)."""


def _torso_kind(config: Config, spaces: Spaces) -> str:
    if config.torso != "auto":
        return config.torso
    if spaces.lane is not None and spaces.presence is not None:
        return "lanes"
    if spaces.picture:
        return "pixels"
    is_grid = len(spaces.observation) == 3 and min(spaces.observation[1:]) >= CnnTorso.LEAST_CELLS
    return "cnn" if is_grid else "mlp"


def _torso(config: Config, spaces: Spaces, generator: torch.Generator) -> nn.Module:
    if not config.hidden or min(config.hidden) < 1:
        raise ValueError(f"hidden must name at least one layer of at least one unit, got {list(config.hidden)}")
    return TORSOS[_torso_kind(config, spaces)](config, spaces, generator)


def _standardize(config: Config, spaces: Spaces) -> Standardize | AsSeen:
    kind = _torso_kind(config, spaces)
    return AsSeen() if kind == "pixels" else Standardize(spaces.observation, POOLED[kind], spaces.presence)


class ActorCritic(nn.Module):
    """A stochastic policy (categorical, or a diagonal Gaussian clipped to the Box) and a state value."""

    def __init__(self, config: Config, spaces: Spaces, generator: torch.Generator):
        super().__init__()
        self.spaces = spaces
        self.standardize = _standardize(config, spaces)
        width = config.hidden[-1] if config.hidden else 0
        self.actor_torso = _torso(config, spaces, generator)
        self.critic_torso = None if config.shared else _torso(config, spaces, generator)
        self.actor_head = _linear(width, spaces.actions, 0.01, generator)  # near-uniform at first
        self.critic_head = _linear(width, 1, 1.0, generator)
        if spaces.continuous:
            self.log_std = nn.Parameter(torch.full((spaces.actions,), -0.5))
            self.register_buffer("low", torch.tensor(spaces.low), persistent=False)
            self.register_buffer("high", torch.tensor(spaces.high), persistent=False)

    def inputs(self, observation: Tensor) -> Tensor:
        """What the torsos read of observations [B, *S]: standardised, and put in order."""
        return self.actor_torso.prepare(self.standardize(observation), observation)

    def act(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples actions, int64 [B] or float [B, A] to be clipped by `bounded`, and log-probabilities [B]."""
        output = self.actor_head(self.actor_torso(inputs))
        if self.spaces.continuous:
            noise = torch.empty_like(output).normal_(generator=generator)
            actions = output + noise * self.log_std.exp()
            return actions, self._gaussian_log_prob(noise)
        log_probs = output.log_softmax(-1)
        # Exponential race: argmax p_i / e_i is distributed as p, and needs no sync as torch.multinomial does.
        race = log_probs - torch.empty_like(log_probs).exponential_(generator=generator).log()
        actions = race.argmax(-1)
        return actions, log_probs.gather(-1, actions[:, None]).squeeze(-1)

    def bounded(self, actions: Tensor) -> Tensor:
        """The actions as the environment takes them: clipped to the Box if continuous."""
        return actions.clamp(self.low, self.high) if self.spaces.continuous else actions

    def greedy(self, observation: Tensor) -> Tensor:
        """The likeliest action: int64 [B], or the clipped mean [B, A]."""
        output = self.actor_head(self.actor_torso(self.inputs(observation)))
        return self.bounded(output) if self.spaces.continuous else output.argmax(-1)

    def scores(self, observation: Tensor) -> tuple[str, Tensor]:
        """A label and a figure per action, [B, A]: its probability, or the mean of each component."""
        output = self.actor_head(self.actor_torso(self.inputs(observation)))
        return ("mean", output) if self.spaces.continuous else ("probability", output.softmax(-1))

    def value(self, inputs: Tensor) -> Tensor:
        """Value of the state, [B]."""
        torso = self.critic_torso if self.critic_torso is not None else self.actor_torso
        return self.critic_head(torso(inputs)).squeeze(-1)

    def evaluate(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability of `actions`, entropy of the policy and value of the state, [B] each."""
        hidden = self.actor_torso(inputs)
        output = self.actor_head(hidden)
        hidden = hidden if self.critic_torso is None else self.critic_torso(inputs)
        value = self.critic_head(hidden).squeeze(-1)
        if self.spaces.continuous:
            noise = (actions - output) * (-self.log_std).exp()
            entropy = (self.log_std + 0.5 * (1.0 + LOG_2PI)).sum().expand(len(output))
            return self._gaussian_log_prob(noise), entropy, value
        log_probs = output.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions[:, None]).squeeze(-1), entropy, value

    def _gaussian_log_prob(self, noise: Tensor) -> Tensor:
        """Log-density of `mean + noise * std`, with noise [B, A] in standard deviations: [B]."""
        return -(0.5 * noise.square() + self.log_std + 0.5 * LOG_2PI).sum(-1)


class QNetwork(nn.Module):
    """Action values; with `dueling`, a state value plus advantages of mean zero (Wang et al. 2016)."""

    def __init__(self, config: Config, spaces: Spaces, generator: torch.Generator, dueling: bool):
        super().__init__()
        if spaces.continuous:
            raise ValueError("a Q-network needs discrete actions; train continuous ones with ppo")
        self.standardize = _standardize(config, spaces)
        self.torso = _torso(config, spaces, generator)
        self.advantage = _linear(config.hidden[-1], spaces.actions, 1.0, generator)
        self.value = _linear(config.hidden[-1], 1, 1.0, generator) if dueling else None

    def forward(self, observation: Tensor) -> Tensor:
        """[B, ...] -> [B, A]."""
        hidden = self.torso(self.torso.prepare(self.standardize(observation), observation))
        advantage = self.advantage(hidden)
        if self.value is None:
            return advantage
        return self.value(hidden) + advantage - advantage.mean(-1, keepdim=True)

    def greedy(self, observation: Tensor) -> Tensor:
        """The action of highest value: int64 [B]."""
        return self(observation).argmax(-1)

    def scores(self, observation: Tensor) -> tuple[str, Tensor]:
        """A label and a figure per action, [B, A]: its value."""
        return "Q value", self(observation)
