"""One torch thread: the models here are far too small for more, and the suite shares its machine."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread():
    torch.set_num_threads(1)
