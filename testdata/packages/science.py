"""Numbers, tables, models of data, plots."""

import io


def numpy():
    """solves 200 linear equations"""
    import numpy as np

    rng = np.random.default_rng(4)
    a, x = rng.normal(size=(200, 200)), rng.normal(size=200)
    assert np.allclose(np.linalg.solve(a, a @ x), x)


def pandas():
    """groups a table read from CSV and sums it by month"""
    import pandas as pd

    text = "day,shop,sold\n2026-01-30,a,3\n2026-01-31,b,4\n2026-02-01,a,5\n2026-02-02,a,6\n"
    table = pd.read_csv(io.StringIO(text), parse_dates=["day"])
    sums = table.groupby([table.day.dt.to_period("M"), "shop"])["sold"].sum()
    assert sums.tolist() == [3, 4, 11], sums


def scipy():
    """minimises Rosenbrock's function of five variables"""
    import numpy as np
    from scipy import optimize

    found = optimize.minimize(optimize.rosen, np.zeros(5), method="BFGS")
    assert np.allclose(found.x, 1, atol=1e-3), found


def scikit_learn():
    """cross-validates a random forest on the iris data in two worker processes"""
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    x, y = load_iris(return_X_y=True)
    scores = cross_val_score(RandomForestClassifier(20, random_state=4), x, y, n_jobs=2)
    assert scores.mean() > 0.9, scores


def joblib():
    """maps over two worker processes that share a large array, and whose resources are tracked"""
    import warnings

    import joblib as package
    import numpy as np

    rows = np.arange(400_000, dtype=float).reshape(4, -1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="resource_tracker")
        sums = package.Parallel(n_jobs=2, max_nbytes="1M")(package.delayed(np.sum)(rows[i:]) for i in range(4))
    assert sums == [rows[i:].sum() for i in range(4)], sums


def matplotlib():
    """plots a curve with a title into a PNG"""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([1, 4, 9, 16])
    axes.set_title("squares")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    plt.close(figure)
    assert out.getvalue().startswith(b"\x89PNG") and len(out.getvalue()) > 5000


def polars():
    """groups and sorts a lazy table of 100,000 rows on its own threads"""
    import polars as pl

    table = pl.LazyFrame({"n": range(100_000)}).with_columns(rest=pl.col("n") % 3)
    sums = table.group_by("rest").agg(pl.col("n").sum()).sort("rest").collect()
    assert sums["n"].to_list() == [sum(range(first, 100_000, 3)) for first in range(3)], sums


def pyarrow():
    """writes a compressed Parquet file to /tmp and reads one column with a filter"""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"n": range(1000), "text": [str(n) for n in range(1000)]})
    parquet.write_table(table, "/tmp/table.parquet", compression="zstd")
    read = parquet.read_table("/tmp/table.parquet", columns=["text"], filters=[("n", ">", 997)])
    assert read["text"].to_pylist() == ["998", "999"], read


def numba():
    """compiles a parallel loop to machine code and runs it"""
    import numba as nb

    @nb.njit(parallel=True)
    def total(n):
        s = 0
        for i in nb.prange(n):
            s += i
        return s

    assert total(100_000) == 4999950000


def sympy():
    """integrates and solves symbolically"""
    import sympy as sp

    x = sp.symbols("x")
    assert sp.integrate(sp.exp(-x) * sp.sin(x), (x, 0, sp.oo)) == sp.Rational(1, 2)
    assert sp.solve(x**2 - 2, x) == [-sp.sqrt(2), sp.sqrt(2)]


def networkx():
    """finds the shortest path in a weighted graph"""
    import networkx as nx

    graph = nx.Graph()
    graph.add_weighted_edges_from([("a", "b", 4), ("a", "c", 1), ("c", "b", 2), ("b", "d", 5)])
    assert nx.shortest_path(graph, "a", "d", weight="weight") == ["a", "c", "b", "d"]
