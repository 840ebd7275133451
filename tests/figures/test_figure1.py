"""Figure 1: the picture is the data of the cluster file."""

import json

import pytest

from reproduce import figure1
from reproduce.cluster import files
from reproduce.figures import node, plot
from reproduce.launchers import site


def topology(name="abci"):
    nodes = site.load(name)
    return node.Topology(nodes.numa, nodes.hca)


def texts(cluster):
    figure, ax = plot.plt.subplots()
    node.draw(ax, cluster, topology())
    found = [text.get_text() for text in ax.texts]
    links = sum(one.get_gid() == "nvlink" for one in ax.lines)
    plot.plt.close(figure)
    return found, len(ax.patches), links


def test_abci_has_two_cpus_four_gpus_and_two_adapters():
    found, boxes, links = texts(files.load("abci"))
    for name, count in (("HCA", 2), ("CPU", 2), ("GPU", 4)):
        assert sum(text.startswith(f"{name} ") for text in found) == count
    assert boxes == 8 and links == 6, "four GPUs fully meshed are six links"
    assert "CPU 1\nXeon Gold 6148" in found and "GPU 3\nTesla V100-SXM2-16GB" in found
    assert "network: 12.5 GB/s each way per adapter" in found and "PCIe x16: 15.8 GB/s each way" in found
    assert "NVLink: 150 GB/s each way per GPU, to all others together" in found


def test_wires_join_each_card_to_the_cpu_that_the_file_names():
    found = node.wires(files.load("abci"), topology())
    to = {card: cpu for card, cpu, kind in found if kind == "pcie"}
    assert [to["gpu", i] for i in range(4)] == [("cpu", 0), ("cpu", 0), ("cpu", 1), ("cpu", 1)]
    assert [to["adapter", i] for i in range(2)] == [("cpu", 0), ("cpu", 1)], "each HCA is attached to its CPU"
    crossed = node.wires(files.load("abci"), node.Topology((1, 0, 1, 0), ("b", "a", "b", "a")))
    to = {card: cpu for card, cpu, kind in crossed if kind == "pcie"}
    assert [to["gpu", i][1] for i in range(4)] == [1, 0, 1, 0] and [to["adapter", i][1] for i in range(2)] == [1, 0]
    assert sum(kind == "socket" for *_, kind in found) == 1 and sum(kind == "network" for *_, kind in found) == 2


@pytest.mark.parametrize("change, said", [
    ({"node.gpus": 3}, "GPU 2\nTesla V100-SXM2-16GB"), ({"network.adapters": 4}, "HCA 3\n"),
    ({"node.link_bandwidth": 300e9}, "NVLink: 300 GB/s"), ({"network.adapter_bandwidth": 25e9}, "network: 25 GB/s"),
    ({"node.pcie_bandwidth": 31.5e9}, "31.5 GB/s"), ({"node.cpus": 1}, "CPU 0\n"),
])  # fmt: skip
def test_another_file_gives_another_picture(change, said):
    cluster = files.load("abci")
    found, boxes, _ = texts(cluster.with_values(change))
    assert any(text.startswith(said) or said in text for text in found)
    assert boxes == 8 + sum(int(value - cluster.get(name)) for name, value in change.items() if "bandwidth" not in name)


def test_a_node_of_many_gpus_has_a_bar_instead_of_a_mesh():
    _, boxes, links = texts(files.load("dgx1v"))
    assert boxes == 8 + 2 + 4 and links == 0


def test_the_side_car_has_every_number_drawn_with_source_and_status(tmp_path):
    assert figure1.main(["--results", str(tmp_path)]) == 0
    facts = json.loads((tmp_path / "figure1.json").read_text())
    assert facts["file"] == "paper_configs/clusters/abci.toml" and "abci.toml" in facts["title"]
    assert {kind: box["count"] for kind, box in facts["boxes"].items()} == {"adapter": 2, "cpu": 2, "gpu": 4}
    assert facts["constants"]["network.adapter_bandwidth"]["value"] == 12.5e9
    assert all(one["status"] == "datasheet" and one["source"] for one in facts["constants"].values())
    first = (tmp_path / "figure1.png").read_bytes()
    assert figure1.main(["--results", str(tmp_path)]) == 0 and (tmp_path / "figure1.png").read_bytes() == first
