"""Plots of results: what they show, and that it can be read: no label on another, nothing said by colour alone."""

import sys
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from toy_results import DISTANCES, SYSTEMS, frame, rich_results, small_results

from csgen.errors import InputError
from csgen.plots import write_plots
from eval.reporting.grids import Grid, gain_grid
from eval.reporting.maps import plot_gains, plot_values
from eval.reporting.plots import draw_plots, read_images
from eval.reporting.style import system_looks
from eval.reporting.trends import bin_gains, plot_gain_trends, plot_trends
from eval.results import empty_frame

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def rich():
    return rich_results()


@pytest.fixture(scope="module")
def plots(rich):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = {plot.name: plot for plot in draw_plots(rich)}
    for plot in drawn.values():
        FigureCanvasAgg(plot.figure).draw()
    return drawn


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def names_of(labels):
    return [label.get_text() for label in labels]


def extents(labels):
    return [label.get_window_extent() for label in labels if label.get_visible() and label.get_text()]


# Which plots there are.


def test_a_square_grid_has_maps_and_a_column_of_languages_one_plot_of_all_systems(plots):
    kinds = [(plot.benchmark, plot.kind) for plot in plots.values()]
    assert kinds.count(("xquad-r", "grid")) == len(SYSTEMS)
    assert kinds.count(("xquad-r", "gain")) == len(SYSTEMS) - 1
    assert (kinds.count(("legal-gdpr", "grid")), kinds.count(("legal-gdpr", "gain"))) == (1, 0)


def test_bins_distance_and_pooled_cells_have_a_plot_each(plots):
    rest = [name for name, plot in plots.items() if plot.benchmark == "xquad-r" and plot.kind not in ("grid", "gain")]
    assert rest == [
        "bins-xquad-r-overlap", "bins-xquad-r-length", "bins-xquad-r-distance", "bins-xquad-r-script",
        "distance-xquad-r", "ranks-xquad-r-en-all.14", "ranks-xquad-r-ar-all.14",
    ]  # fmt: skip


def test_results_without_figures_have_no_plots():
    names = ("cells", "values", "summary", "comparisons")
    assert draw_plots(small_results(**{name: empty_frame(name) for name in names})) == []


def test_one_language_alone_is_not_plotted():
    results = small_results()
    assert draw_plots(replace(results, cells=results.cells.head(1), values=results.values.head(2))) == []


# Whether they can be read.


def test_no_two_labels_of_an_axis_overlap(plots):
    for name, plot in plots.items():
        for axes in plot.figure.axes:
            for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
                boxes = extents(labels)
                assert not any(a.overlaps(b) for a, b in pairwise(boxes)), name


def test_everything_lies_within_the_figure(plots):
    for name, plot in plots.items():
        width, height = plot.figure.bbox.size
        parts = [axes.get_tightbbox() for axes in plot.figure.axes]
        for box in [*parts, *(one.get_window_extent() for one in (*plot.figure.texts, *plot.figure.legends))]:
            assert -1 <= box.x0 <= box.x1 <= width + 1, name
            assert -1 <= box.y0 <= box.y1 <= height + 1, name


def test_title_and_legend_do_not_lie_on_the_panels(plots):
    for name, plot in plots.items():
        above = [one.get_window_extent() for one in (*plot.figure.legends, *plot.figure.texts)]
        assert above, name
        top = max(axes.get_tightbbox().y1 for axes in plot.figure.axes)
        assert all(top <= box.y0 + 1 for box in above), name


def test_numbers_fit_into_the_cells_of_a_map(plots):
    axes = plots["gain-xquad-r-bm25"].figure.axes[0]
    cell = axes.get_window_extent().width / 12
    assert max(text.get_window_extent().width for text in axes.texts) < cell


def test_darkness_alone_orders_the_values_of_a_map():
    languages = tuple("abcdefghij")
    values = {("q", language): k / 10 for k, language in enumerate(languages)}
    image = plot_values(Grid(("q",), languages, values), 0.9, "").axes[0].images[0]
    colours = [image.cmap(image.norm(value)) for value in values.values()]
    lightness = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue, _ in colours]
    assert all(a > b for a, b in pairwise(lightness))


def test_maps_of_a_benchmark_share_one_scale(plots):
    images = [plots[f"grid-xquad-r-{system}"].figure.axes[0].images[0] for system in SYSTEMS]
    assert len({image.get_clim() for image in images}) == 1


def test_systems_differ_in_marker_and_in_line_as_well_as_in_colour(rich):
    looks = system_looks(rich).values()
    for one, other in combinations(looks, 2):
        assert one.marker != other.marker
        assert one.line != other.line
        assert one.colour != other.colour


def test_the_baseline_is_grey_and_every_system_looks_alike_in_all_plots(rich, plots):
    looks = system_looks(rich)
    assert looks["zero-shot"].colour == "#4D4D4D"
    line = plots["bins-xquad-r-length"].figure.axes[0].lines[0]
    assert (line.get_color(), line.get_marker()) == (looks["bm25"].colour, looks["bm25"].marker)


# What they show.


def test_map_holds_every_number_with_its_language_names(plots, rich):
    axes = plots["grid-xquad-r-psq"].figure.axes[0]
    assert len(axes.texts) == 144
    assert names_of(axes.get_yticklabels())[:3] == ["German (de)", "English (en)", "Spanish (es)"]
    value = rich.values.filter(benchmark="xquad-r", cell="de-en", system="psq", measure="RR@10")["value"][0]
    assert texts_of(axes)[1] == f"{100 * value:.1f}"


def test_gains_have_signs_and_stand_bold_where_they_are_significant():
    figure = plot_gains(gain_grid(small_results(), "debian", "psq", "RR@10"), "gains")
    shown = {text.get_text(): text.get_fontweight() for text in figure.axes[0].texts}
    assert shown == {"0.0": "normal", "+12.5": "bold"}


def test_a_pair_that_was_not_measured_is_a_dash():
    grid = Grid(("de", "fr"), ("en", "it"), {("de", "en"): 0.5, ("fr", "it"): 0.25})
    assert texts_of(plot_values(grid, 0.5, "").axes[0]) == ["50.0", "–", "–", "25.0"]


def test_moir_is_framed(plots):
    from matplotlib.patches import Rectangle

    frames = [patch for patch in plots["grid-xquad-r-psq"].figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert [frame.get_x() for frame in frames] == pytest.approx([k - 0.44 for k in range(12)])


def test_a_grid_of_nothing_but_zeros_can_be_drawn():
    grid = Grid(("de",), ("de",), {("de", "de"): 0.0})
    assert texts_of(plot_values(grid, 0.0, "zeros").axes[0]) == ["0.0"]
    assert texts_of(plot_gains(grid, "zeros").axes[0]) == ["0.0"]


def test_rows_of_all_languages_hold_every_system_in_its_place(plots, rich):
    axes = plots["grid-legal-gdpr"].figure.axes[0]
    assert len(names_of(axes.get_yticklabels())) == 24
    value = rich.values.filter(benchmark="legal-gdpr", cell="cs-en", system="bm25", measure="RR@10")["value"][0]
    top = min(zip(axes.lines[0].get_ydata(), axes.lines[0].get_xdata(), strict=True))
    assert top[1] == pytest.approx(100 * value)


def test_trends_have_a_panel_a_setting_and_the_queries_below_each_bin():
    rows = [
        ("debian", "CLIR", "length", label, order, "bm25", "RR@10", 0.1 + order / 10, 0.05, 0.95, 1000 + order)
        for order, label in enumerate(("1-3", "4+"))
    ]
    bins = frame("bins", rows)
    axes = plot_trends(small_results(bins=bins), {"CLIR": bins}, "toy").axes[0]
    assert axes.get_title(loc="left") == "CLIR"
    assert names_of(axes.get_xticklabels()) == ["1–3\n1,000", "4+\n1,001"]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([10.0, 20.0])
    (segments,) = (lines.get_segments() for lines in axes.collections)
    assert segments[0][:, 1].tolist() == pytest.approx([5.0, 95.0])


def test_gains_by_bin_are_differences_to_the_baseline_and_one_bin_is_no_trend():
    values = {
        ("CLIR", "0", "bm25"): 0.25,
        ("CLIR", "0", "psq"): 0.5,
        ("CLIR", "1", "bm25"): 0.5,
        ("CLIR", "1", "psq"): 0.25,
    }
    values |= {("MoIR", "0", "bm25"): 0.5, ("MoIR", "0", "psq"): 0.5}
    rows = [
        ("debian", setting, "distance", label, int(label), system, "RR@10", value, 0.1, 0.9, 40)
        for (setting, label, system), value in values.items()
    ]
    gains = bin_gains(frame("bins", rows), "bm25")
    assert gains.select("setting", "bin", "system", "value", "low").rows() == [
        ("CLIR", "0", "psq", 0.25, None),
        ("CLIR", "1", "psq", -0.25, None),
    ]


def test_gains_stand_on_both_sides_of_a_line_with_their_signs():
    rows = [
        ("debian", "CLIR", "distance", label, order, "psq", "RR@10", value, None, None, 40)
        for order, (label, value) in enumerate((("near", -0.2), ("far", 0.3)))
    ]
    axes = plot_gain_trends(small_results(), {"CLIR": frame("bins", rows)}, "toy").axes[0]
    shown = [axes.yaxis.get_major_formatter()(value, None) for value in (-20.0, 0.0, 30.0)]
    assert shown == ["−20", "0", "+30"]
    assert any(list(line.get_ydata()) == [0, 0] for line in axes.lines)


def test_long_names_of_bins_stand_one_below_the_other_from_near_to_far(plots):
    for name in ("bins-xquad-r-distance", "distance-xquad-r"):
        axes = plots[name].figure.axes[-1]
        labels = [label.rpartition(" (")[0] for label in names_of(axes.get_yticklabels())]
        assert labels == [label.replace("-", "–") for label in DISTANCES]
        assert axes.get_ylim() == (4.5, -0.5)  # the first at the top


def test_ranks_stand_on_a_logarithmic_axis_beside_the_shares(plots):
    left, right = plots["ranks-xquad-r-en-all.14"].figure.axes
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
    strokes = [lines for lines in right.collections if len(lines.get_segments()) == 1]
    assert {round(lines.get_segments()[0][0][0], 3) for lines in strokes if lines.get_linewidth()[0] == 1.4} == {7.143}


# Files.


def test_equal_results_give_equal_bytes_and_svg_is_read_back(tmp_path):
    images = []
    for name in ("1", "2"):
        plots = draw_plots(small_results())
        write_plots({plot.name: plot.figure for plot in plots}, str(tmp_path / name))
        images.append(read_images(plots, str(tmp_path / name)))
    assert images[0] == images[1]
    assert list(images[0]) == ["grid-debian"]
    assert images[0]["grid-debian"].startswith(b"<?xml")
    png = [Path(tmp_path / name / "grid-debian.png").read_bytes() for name in ("1", "2")]
    assert png[0] == png[1]


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"plots need matplotlib: pip install 'csgen\[eval\]'"):
        draw_plots(small_results())
