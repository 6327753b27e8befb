from bombyx.attestation.steps import SIMULATED_UNKNOWN, STEPS, StepName


def test_every_step_is_documented_in_order() -> None:
    assert list(STEPS) == list(StepName)
    assert all(text.endswith(".") for text in STEPS.values())


def test_the_unknown_steps_of_a_simulated_worker() -> None:
    assert SIMULATED_UNKNOWN == (
        "platform_identity",
        "gpu_evidence",
        "gpu_binding",
        "physical_attack_resistance",
    )
