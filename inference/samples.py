"""Samples and what they claim, as ``estimate`` is for numbers.

>>> draws = Samples(np.zeros((3, 2), bool), SampleClaim.WITHIN, factor=7.48, probability=0.8)
>>> str(draws)
'3 samples, within a factor 7.48 with probability 0.8, independent'
"""

import dataclasses
import enum

import numpy as np


class SampleClaim(enum.Enum):
    """What holds of the distribution of each sample."""

    EXACT = "exact"  # that of the model, up to rounding
    WITHIN = "within"  # each probability within a factor of that of the model
    ASYMPTOTIC = "asymptotic"  # tends to that of the model as a chain grows; nothing at any length


@dataclasses.dataclass(frozen=True)
class Samples:
    """Assignments drawn from a model.

    Attributes:
      assignments: bool or integer [N, V], one sample a row.
      claim: of the distribution of each row.
      factor: of a claim WITHIN: Pr[x] lies in [p(x) / factor, p(x) factor]; at least 1.
      probability: with which that holds, over what all samples share, as a count they start from.
      independent: whether the rows are, given what they share.

    Raises:
      ValueError: factor and probability contradict the claim.
    """

    assignments: np.ndarray
    claim: SampleClaim
    factor: float = 1.0
    probability: float = 1.0
    independent: bool = True

    def __post_init__(self) -> None:
        if not (1.0 <= self.factor < np.inf and 0.0 < self.probability <= 1.0):
            given = f"{self.factor} and {self.probability}"
            raise ValueError(f"expected a factor from 1 and a probability up to 1, given {given}")
        if self.claim is not SampleClaim.WITHIN and (self.factor, self.probability) != (1.0, 1.0):
            raise ValueError(f"expected no factor or probability for the claim {self.claim.value}")

    def __str__(self) -> str:
        text = self.claim.value
        if self.claim is SampleClaim.WITHIN:
            text += f" a factor {self.factor:g} with probability {self.probability:g}"
        kind = "independent" if self.independent else "not independent"
        return f"{len(self.assignments)} samples, {text}, {kind}"
