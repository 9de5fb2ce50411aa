import pytest

from toolkit.lessons import predict


def make():
    return predict("Which is <larger>?", ["left", "right"], "right", "It has more.")


def test_nothing_is_chosen_at_first_and_the_answer_waits():
    question = make()
    assert question.choices.value is None and question.show_button.disabled
    assert "right" not in question.status.value


def test_a_choice_frees_the_answer():
    question = make()
    question.choices.value = "left"
    assert not question.show_button.disabled and "It has more" not in question.status.value
    question.show_button.click()
    assert "You predicted “left”; it is: right. It has more." in question.status.value
    question.choices.value = "right"
    question.show_button.click()
    assert "As you predicted: right." in question.status.value


def test_the_page_without_a_kernel_shows_question_and_options_but_not_the_answer():
    data, _ = make()._repr_mimebundle_()
    assert data["text/markdown"] == "**Which is <larger>?**\n\n- left\n- right"
    assert data["text/plain"] == "Which is <larger>? (left / right)"
    assert "&lt;larger&gt;" in make().children[0].value


def test_revealed_text_does_not_depend_on_the_choice():
    question = make()
    before = question.reveal()
    question.choices.value = "left"
    assert question.reveal() == before == "Which is <larger>? — right. It has more."


@pytest.mark.parametrize(("options", "answer"), [(["a"], "a"), (["a", "a"], "a"), (["a", "b"], "c"), ([], "a")])
def test_bad_questions_are_refused(options, answer):
    with pytest.raises(ValueError, match="predict"):
        predict("?", options, answer)
