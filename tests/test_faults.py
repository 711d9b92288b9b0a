"Bad input and faults: every case of tools/faults.py."
import sys
from pathlib import Path
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tools'))
from faults import CASES, World

@pytest.fixture(scope='session')
def world(tmp_path_factory): return World(tmp_path_factory.mktemp('world'))

@pytest.mark.parametrize('case', CASES, ids=str)
def test_fault(world, tmp_path, case):
    "Refused in one line, or handled rightly; nothing half-written"
    case.attempt(world, tmp_path)
