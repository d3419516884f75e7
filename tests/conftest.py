"""What all test files share: two threads, the same seeds for every test, hypothesis without deadlines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(2)
settings.register_profile("bounded", deadline=None, max_examples=20)
settings.load_profile("bounded")


@pytest.fixture(autouse=True)
def seeded() -> None:
    np.random.seed(0)
    torch.manual_seed(0)
