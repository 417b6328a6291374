"""What samples claim, and the claims that contradict themselves."""

import numpy as np
import pytest

from inference.samples import SampleClaim, Samples

DRAWS = np.zeros((3, 2), dtype=bool)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((SampleClaim.WITHIN, 0.5), "a factor from 1 and a probability up to 1, given 0.5 and 1.0"),
        ((SampleClaim.WITHIN, np.nan), "given nan and 1.0"),
        ((SampleClaim.WITHIN, np.inf), "given inf and 1.0"),
        ((SampleClaim.WITHIN, 2.0, 0.0), "given 2.0 and 0.0"),
        ((SampleClaim.WITHIN, 2.0, 1.5), "given 2.0 and 1.5"),
        ((SampleClaim.EXACT, 2.0), "no factor or probability for the claim exact"),
        ((SampleClaim.ASYMPTOTIC, 1.0, 0.9), "no factor or probability for the claim asymptotic"),
    ],
)
def test_contradictions_are_refused(given, words):
    with pytest.raises(ValueError, match="^expected .*") as caught:
        Samples(DRAWS, *given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (Samples(DRAWS, SampleClaim.EXACT), "3 samples, exact, independent"),
        (
            Samples(DRAWS[:0], SampleClaim.ASYMPTOTIC, independent=False),
            "0 samples, asymptotic, not independent",
        ),
        (
            Samples(DRAWS, SampleClaim.WITHIN, 7.48, 0.8),
            "3 samples, within a factor 7.48 with probability 0.8, independent",
        ),
    ],
)
def test_one_line_says_what_holds(samples, words):
    assert str(samples) == words
