"""What this machine has for runners."""

from drivetrain.fleets import machine


def test_a_container_has_what_it_was_given(tmp_path, monkeypatch):
    (tmp_path / "memory").write_text("1048576\n")
    (tmp_path / "cpu").write_text("50000 100000\n")
    monkeypatch.setattr(machine, "_LIMITS", (tmp_path / "memory", tmp_path / "nowhere"))
    monkeypatch.setattr(machine, "_PROCESSOR_LIMIT", tmp_path / "cpu")
    capacity = machine.capacity_of_machine({"CUDA_VISIBLE_DEVICES": "2,3"})
    assert (capacity.gpus, capacity.memory, capacity.cpus) == (("2", "3"), 1048576, 0.5)


def test_without_limits_it_is_all_there_is(tmp_path, monkeypatch):
    (tmp_path / "memory").write_text("max\n")
    (tmp_path / "cpu").write_text("max 100000\n")
    monkeypatch.setattr(machine, "_LIMITS", (tmp_path / "memory",))
    monkeypatch.setattr(machine, "_PROCESSOR_LIMIT", tmp_path / "cpu")
    capacity = machine.capacity_of_machine({"CUDA_VISIBLE_DEVICES": ""})
    assert capacity.gpus == ()
    assert capacity.memory > 1048576
    assert capacity.cpus >= 1
