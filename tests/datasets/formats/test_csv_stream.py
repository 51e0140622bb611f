"""csv files are read by the names of their columns, every cell as text."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml.datasets.formats.csv_stream import csv_rows
from maskrcnn_benchmark_hml.errors import HMLError


def test_columns_by_name_as_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffB,ImageID,"C, d"\r\n1,00012e45,x\r\n\r\n2,"12345678901e2345","y, z"\r\n'.encode())
    assert list(csv_rows(path, ("ImageID", "B"), ("C, d", "none"))) == [
        ["00012e45", "1", "x", ""], ["12345678901e2345", "2", "y, z", ""]]


@pytest.mark.parametrize(("content", "says"), [
    (b"A,B\n1,2\n", "has no column Z; its first line must name the columns Z"),
    (b"", "has no column Z"),
    (b"Z,B\n1,2\n3\n", None),
    (b"B,Z\n1,2\n3\n", "line 3 of .* has 1 columns, its first line has 2"),
    (b"Z\n\xe9\n", "not in UTF-8"),
])
def test_a_fault_is_one_sentence(tmp_path, content, says):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    if says is None:  # the needed cells are there
        assert list(csv_rows(path, ("Z",))) == [["1"], ["3"]]
        return
    with pytest.raises(HMLError, match=says) as error:
        list(csv_rows(path, ("Z",)))
    assert str(path) in str(error.value)
