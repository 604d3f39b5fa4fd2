from __future__ import annotations

from collections.abc import Callable

import pytest

from server.domain.pushes import Content
from server.domain.templates import ContentSource, RenderError, TemplateError, TemplateProblem
from server.rendering import Renderer


def problems(renderer: Renderer, source: ContentSource) -> tuple[TemplateProblem, ...]:
    with pytest.raises(TemplateError) as error:
        renderer.compile(source)
    return error.value.problems


def test_every_field_is_rendered_for_its_recipient(renderer: Renderer) -> None:
    source = ContentSource(
        title="Hi {{ name }}",
        body="{{ count }} new",
        subtitle="{{ name | upcase }}",
        image="https://img.example/{{ name | url_encode }}.png",
        click_action="open/{{ order.id }}",
        data={"{{ name }}": "{{ name }}", "fixed": "yes"},
    )
    content = renderer.compile(source).render({"name": "Ada", "count": 3, "order": {"id": 7}})
    assert content == Content(
        title="Hi Ada",
        body="3 new",
        subtitle="ADA",
        image="https://img.example/Ada.png",
        click_action="open/7",
        data={"{{ name }}": "Ada", "fixed": "yes"},
    )


def test_absent_fields_stay_absent_and_empty_ones_empty(renderer: Renderer) -> None:
    assert renderer.compile(ContentSource(title="")).render({}) == Content(title="")


GOOD_IMAGES = [
    "https://img.example",
    "https://img.example/a b.png?c#d",
    "https://img.example:8443/a",
    "https://user@img.example",
    "https://[::1]/a",
    "https://bücher.example/ä.png",
]
BAD_IMAGES = [
    "http://img.example/a.png",
    "https://",
    "https:///a.png",
    "https://?a",
    "https://:443/a",
    "https://@/a",
    "https:// img.example",
    "https://img.example\nx",
    " https://img.example",
    "//img.example/a.png",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("image", GOOD_IMAGES)
def test_an_image_is_an_https_url_with_a_host(renderer: Renderer, image: str) -> None:
    assert renderer.compile(ContentSource(image=image)).render({}).image == image
    assert renderer.compile(ContentSource(image="{{ u }}")).render({"u": image}).image == image


@pytest.mark.parametrize("image", BAD_IMAGES)
def test_another_image_is_refused_or_fails_its_recipient(renderer: Renderer, image: str) -> None:
    (problem,) = problems(renderer, ContentSource(image=image))
    assert (problem.field, problem.message) == ("image", "must be an https URL with a host")
    with pytest.raises(RenderError) as error:
        renderer.compile(ContentSource(body="Hi", image="{{ u }}")).render({"u": image})
    assert str(error.value) == "image: must be an https URL with a host"


@pytest.mark.parametrize(
    "image", ["", "{{ 'http://img.example' }}", "http://{{ u }}", "ftp{{ u }}", " {{ u }}", "{ u }"]
)
def test_an_image_that_can_not_become_one_is_refused_at_once(renderer: Renderer, image: str) -> None:
    assert [problem.field for problem in problems(renderer, ContentSource(image=image))] == ["image"]


def test_an_image_may_be_for_some_recipients_only(renderer: Renderer) -> None:
    template = renderer.compile(ContentSource(image="{% if u %}https://img.example/{{ u }}{% endif %}"))
    assert template.render({}) == Content(image=None)
    assert template.render({"u": 1}) == Content(image="https://img.example/1")


def test_a_missing_variable_is_empty_and_default_takes_its_place(show: Callable[..., str]) -> None:
    assert show("Hi {{ name }}!") == "Hi !"
    assert show("Hi {{ name | default: 'friend' }}!") == "Hi friend!"
    assert show("Hi {{ user.name.first }}!", user={}) == "Hi !"


@pytest.mark.parametrize("name", ["partial", "template", "now", "today", "limit", "offset", "for", "size", "first"])
def test_no_name_is_taken(show: Callable[..., str], name: str) -> None:
    body = f"{{{{ {name} | append: '' }}}}{{{{ {name} }}}}"
    assert show(body) == ""
    assert show(body, **{name: "mine"}) == "minemine"


def test_numbers_in_texts_compare_as_numbers(show: Callable[..., str]) -> None:
    assert show("{% if age > 18 %}adult{% endif %}", age="20") == "adult"
    assert show("{% if age > 18 %}adult{% endif %}", age="abc") == ""


def test_words_of_the_language_can_be_keys(show: Callable[..., str]) -> None:
    order = dict.fromkeys(["limit", "in", "contains", "empty", "not", "true"], "x")
    assert show("{{ o.limit }}{{ o.in }}{{ o.contains }}{{ o.empty }}{{ o.not }}{{ o.true }}", o=order) == "xxxxxx"
    assert show("{% for i in o.limit limit: o.in %}{{ i }}{% endfor %}", o={"limit": [1, 2, 3], "in": "2"}) == "12"


def test_line_ends_stay_as_written(show: Callable[..., str]) -> None:
    assert show("a\r\nb{% capture c %}\r\n{% endcapture %}{{ c }}{{ x }}", x="\r\n") == "a\r\nb\r\n\r\n"


def test_texts_with_quotes_and_delimiters_inside(show: Callable[..., str]) -> None:
    assert show(r"{{ 'it\'s }} fine' }} {% raw %}{{ x }}{% endraw %}") == "it's }} fine {{ x }}"


def test_own_variables_do_not_pass_from_field_to_field_or_render_to_render(renderer: Renderer) -> None:
    source = ContentSource(title="{{ x }}{% assign x = 'set' %}{{ x }}", body="{{ x }}")
    template = renderer.compile(source)
    assert template.render({}) == template.render({}) == Content(title="set", body="")
    assert template.render({"x": "given"}) == Content(title="givenset", body="given")


def test_variables_are_the_names_read_from_outside(renderer: Renderer) -> None:
    source = ContentSource(
        title="{{ user.name }}{% for item in order.items %}{{ item.n }}{{ forloop.index }}{% endfor %}",
        body="{% assign greeting = hello %}{% if vip %}{{ 'x' | append: suffix }}{% endif %}",
        data={"k": "{{ table[key] }}"},
    )
    names = renderer.compile(source).variables
    assert names == {"user", "order", "hello", "vip", "suffix", "table", "key"}


def test_a_name_that_is_set_only_sometimes_still_counts_as_read(renderer: Renderer) -> None:
    template = renderer.compile(ContentSource(body="{% if false %}{% assign x = 1 %}{% endif %}{{ x }}"))
    assert template.variables == {"x"}
    assert not template.is_constant
    assert template.render({"x": "given"}).body == "given"


@pytest.mark.parametrize("body", ["plain", "{{ 'a' | upcase }}", "{% for i in (1..3) %}{{ i }}{% endfor %}"])
def test_without_variables_every_recipient_gets_the_same(renderer: Renderer, body: str) -> None:
    template = renderer.compile(ContentSource(title="T", body=body))
    assert template.is_constant
    assert template.render({}) is template.render({"x": 1})


@pytest.mark.parametrize("body", ["{{ x }}", "{{ 'abc' | sample }}", "{{ 'now' | date: '%s' }}"])
def test_what_may_vary_is_not_constant(renderer: Renderer, body: str) -> None:
    assert not renderer.compile(ContentSource(title="T", body=body)).is_constant


@pytest.mark.parametrize(
    ("body", "message", "line", "column"),
    [
        ("Hi {{ name", "the output is not closed", 1, 4),
        ("Hi\n  {{ name | shout }}", "unknown filter 'shout'", 2, 13),
        ("ok\r\nok {% nosuch %}", "unknown tag 'nosuch'", 2, 7),
        ("{% if a %}\nx", "the tag 'if' is not closed", 1, 4),
        ("é{% endif %}", "unexpected tag 'endif'", 1, 5),
        ("{% else %}", "unexpected tag 'else'", 1, 4),
        ("{% render 'x' %}", "the tag 'render' needs other templates, and a push has none", 1, 4),
        ("{% include 'x' %}", "the tag 'include' needs other templates, and a push has none", 1, 4),
        ("{% layout 'x' %}", "the tag 'layout' needs other templates, and a push has none", 1, 4),
        ("{{ a | append }}", "the filter 'append' needs an argument", 1, 8),
        ("{{ a ! }}", "unknown operator '!'", 1, 6),
        ("{{ a; }}", "unexpected ';'", 1, 5),
        ("{{ [a] }}", "the name of a variable can't be computed", 1, 4),
        ("{% raw %}x", "the tag 'raw' is not closed", 1, 4),
        ("{% liquid\n echo a\n nosuch\n%}", "unknown tag 'nosuch'", 3, 2),
        ("{{ 'x' | base64_decode }}", "base64_decode: this is not base64", 1, 10),
        ("{% for i in (1..1000000) %}{% endfor %}", "the template does too much work", 1, 4),
    ],
)
def test_a_problem_says_what_and_where(renderer: Renderer, body: str, message: str, line: int, column: int) -> None:
    (found,) = problems(renderer, ContentSource(body=body))
    assert (found.field, found.message, found.line, found.column) == ("content.body", message, line, column)
    assert found.excerpt
    assert body.splitlines()[line - 1][column - 1 :] == found.excerpt


def test_of_a_long_line_a_problem_shows_the_beginning(renderer: Renderer) -> None:
    (found,) = problems(renderer, ContentSource(body=f"Hi {{{{ name | shout: '{'x' * 100}' }}}}"))
    assert found.excerpt == f"shout: '{'x' * 32}…"


def test_needed_is_what_is_read_and_nowhere_set(renderer: Renderer) -> None:
    source = ContentSource(
        title="{% assign greeting = hello %}{{ greeting }}",
        body="{% capture x %}{{ user.name }}{% endcapture %}{{ x }}{% for i in all %}{{ i }}{% endfor %}",
        data={"k": "{{ greeting }}"},
    )
    assert renderer.compile(source).needed == {"hello", "user", "all", "greeting"}  # fields don't see each other's


def test_all_problems_of_all_fields_are_listed(renderer: Renderer) -> None:
    source = ContentSource(
        title="{{ a | one }}{{ b | two: c }}",
        body="{% three %}{% four %}",
        subtitle="{{",
        image="{% if %}",
        click_action="{{ a }",
        data={"url": "{{ x | five }}", "fine": "{{ x }}"},
    )
    found = problems(renderer, source)
    assert [(problem.field, problem.column) for problem in found] == [
        ("content.title", 8),
        ("content.title", 21),
        ("content.body", 4),
        ("content.body", 15),
        ("content.subtitle", 1),
        ("image", 4),
        ("clickAction", 1),
        ("data.url", 8),
    ]


def test_a_field_has_at_most_twenty_problems(renderer: Renderer) -> None:
    assert len(problems(renderer, ContentSource(body="{% nosuch %}" * 1000))) == 20


def test_a_field_of_more_than_16_kib_is_refused(renderer: Renderer) -> None:
    assert renderer.compile(ContentSource(body="é" * 8192)).is_constant
    (problem,) = problems(renderer, ContentSource(title="ok", body="é" * 8192 + "x"))
    assert (problem.field, problem.message) == ("content.body", "a template of more than 16 KiB")


def test_more_than_64_kib_all_together_are_refused(renderer: Renderer) -> None:
    data = {str(index): "x" * 16384 for index in range(5)}
    (problem,) = problems(renderer, ContentSource(data=data))
    assert (problem.field, problem.message) == ("content", "templates of more than 64 KiB all together")


@pytest.mark.parametrize(
    "body", ["{{ x }}{{ x }}", "{{ x | append: x }}", "{% capture c %}{{ x }}{{ x }}{% endcapture %}"]
)
def test_a_recipient_whose_text_gets_too_long_fails_alone(renderer: Renderer, body: str) -> None:
    template = renderer.compile(ContentSource(body=body))
    assert template.render({"x": "é" * 10}).body is not None
    with pytest.raises(RenderError, match="a text of more than 64 KiB") as error:
        template.render({"x": "é" * 40_000})
    assert error.value.field == "content.body"


def test_an_error_names_field_and_place_but_no_value(renderer: Renderer) -> None:
    template = renderer.compile(ContentSource(data={"url": "a\n{{ token | base64_decode }}"}))
    with pytest.raises(RenderError) as error:
        template.render({"token": "s3cret!"})
    assert error.value.field == "data.url"
    assert error.value.message == "base64_decode: this is not base64 (line 2, column 12)"
    assert "s3cret" not in str(error.value)


def test_half_an_emoji_is_an_error_not_a_broken_push(renderer: Renderer) -> None:
    template = renderer.compile(ContentSource(body="{{ x }}", title="{{ x | upcase }}"))
    with pytest.raises(RenderError):
        template.render({"x": "\ud83d"})


def test_the_work_is_counted_over_all_fields_of_a_recipient(renderer: Renderer) -> None:
    loop = "{% for i in list %}{% assign y = i %}{% endfor %}"
    ten = renderer.compile(ContentSource(data={str(index): loop for index in range(10)}))
    one = renderer.compile(ContentSource(data={"0": loop}))
    numbers = {"list": list(range(3000))}
    assert one.render(numbers).data == {"0": ""}
    with pytest.raises(RenderError, match="too much work"):
        ten.render(numbers)


@pytest.mark.parametrize(
    "body",
    [
        "{% for i in (1..20) %}{% if text.size == 1 %}{% endif %}{% endfor %}",
        "{% for i in (1..60) %}{% case 1 %}{% when list %}{% endcase %}{% endfor %}",
        "{% for i in (1..60) %}{% if list == i %}{% endif %}{% endfor %}",
        "{% for i in (1..300) %}{% assign d = 'soon' | date: '%Y' %}{% endfor %}",
    ],
)
def test_what_takes_long_is_paid_for_each_time(renderer: Renderer, body: str) -> None:
    template = renderer.compile(ContentSource(body="{{ text.first }}" + body))
    with pytest.raises(RenderError, match="too much work"):
        template.render({"text": "x" * 60_000, "list": list(range(999))})


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [("{{ a", "[a", "]"), ("{% if a", " and a", ""), ("{% if a", " and not a", ""), ("{% if ", "not ", "")],
)
def test_however_deep_a_template_is_it_works_or_is_refused(
    renderer: Renderer, start: str, piece: str, end: str
) -> None:
    close = "a %}{% endif %}" if piece == "not " else " %}{% endif %}" if "if" in start else " }}"
    for depth in range(20, 1200, 31):
        body = start + piece * depth + end * depth + close
        try:
            renderer.compile(ContentSource(body=body)).render({"a": True})
        except (TemplateError, RenderError) as error:
            assert "nested too deeply" in str(error) or "1,500 parts" in str(error)  # noqa: PT017  # or it works
