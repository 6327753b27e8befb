"""Real SGLang does what every engine must."""

import pytest

from tests.sglang.lane import SUBJECT
from tests.worker.engine.contract import EngineContract, Subject
from tests.worker.engine.text_contract import TextContract
from worker.engine.port import Engine
from worker.engine.supervised import SupervisedEngine

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def subject() -> Subject:
    return SUBJECT


@pytest.fixture
def engine(sglang: SupervisedEngine) -> Engine:
    return sglang


class TestSGLang(EngineContract, TextContract):
    pass
