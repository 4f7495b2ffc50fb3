"""Documents, markup, dates."""

import datetime
import io


def lxml():
    """queries with XPath, transforms with XSLT, and repairs HTML"""
    from lxml import etree, html

    shop = etree.fromstring('<shop><item price="3">tea</item><item price="9">cup</item></shop>')
    assert shop.xpath("string(item[@price > 5])") == "cup"
    sheet = etree.XSLT(
        etree.XML(
            '<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/Transform"><x:output method="text"/>'
            '<x:template match="/"><x:value-of select="sum(//@price)"/></x:template></x:stylesheet>'
        )
    )
    assert str(sheet(shop)) == "12"
    assert html.fromstring("<p>one<p>two").xpath("count(.//p)") == 2


def beautifulsoup4():
    """collects the links of a broken page"""
    from bs4 import BeautifulSoup

    page = BeautifulSoup('<ul><li><a href="/a">A</a><li><a href="/b">B', "html.parser")
    assert [link["href"] for link in page.select("li a[href]")] == ["/a", "/b"]


def jinja2():
    """renders a template with a loop, escaped"""
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string("{% for x in xs %}<b>{{ x | upper }}</b>{% endfor %}")
    assert template.render(xs=["a", "<"]) == "<b>A</b><b>&lt;</b>"


def markdown():
    """renders a table and fenced code"""
    from markdown import markdown

    page = markdown("# T\n\na | b\n--|--\n1 | 2\n\n```\nx < y\n```\n", extensions=["tables", "fenced_code"])
    assert "<h1>T</h1>" in page and "<td>2</td>" in page and "x &lt; y" in page, page


def openpyxl():
    """writes a workbook with a formula and a chart, and reads it again"""
    from openpyxl import Workbook, load_workbook
    from openpyxl.chart import BarChart, Reference

    book = Workbook()
    for row in (["n"], [1], [2], ["=SUM(A2:A3)"]):
        book.active.append(row)
    chart = BarChart()
    chart.add_data(Reference(book.active, min_col=1, min_row=1, max_row=3), titles_from_data=True)
    book.active.add_chart(chart, "C1")
    book.save("/tmp/book.xlsx")
    assert load_workbook("/tmp/book.xlsx").active["A4"].value == "=SUM(A2:A3)"


def xlsxwriter():
    """writes a formatted workbook in memory"""
    import xlsxwriter as package

    out = io.BytesIO()
    with package.Workbook(out) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["tea", 3], book.add_format({"bold": True}))
        sheet.conditional_format("B1", {"type": "cell", "criteria": ">", "value": 1, "format": book.add_format()})
    assert out.getvalue().startswith(b"PK") and len(out.getvalue()) > 4000


def reportlab():
    """sets a PDF of two pages with a table"""
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Table

    out = io.BytesIO()
    style = getSampleStyleSheet()["Title"]
    SimpleDocTemplate(out).build([Paragraph("Bill", style), PageBreak(), Table([["tea", "3"], ["cup", "9"]])])
    assert out.getvalue().startswith(b"%PDF") and b"/Count 2" in out.getvalue()


def weasyprint():
    """parses CSS (tinycss2) and writes a PDF (pydyf); sets a page of HTML where the host has libpango and fonts"""
    import pydyf
    import tinycss2

    (rule,) = tinycss2.parse_stylesheet("p { margin: 1cm }", skip_whitespace=True)
    assert tinycss2.serialize(rule.prelude).strip() == "p"
    pdf, out = pydyf.PDF(), io.BytesIO()
    pdf.add_page(pydyf.Dictionary({"Type": "/Page", "Parent": pdf.pages.reference, "MediaBox": pydyf.Array([0, 0, 9, 9])}))
    pdf.write(out)
    assert out.getvalue().startswith(b"%PDF")
    try:
        import weasyprint as package
    except OSError as error:
        assert "cannot load library" in str(error), error
        return "the host has no libpango: " + str(error).splitlines()[0]
    page = package.HTML(string="<h1>Bill</h1><p style='page-break-before: always'>tea").render()
    assert len(page.pages) == 2 and page.write_pdf().startswith(b"%PDF")


def python_docx():
    """writes a document with a heading and a table, and reads it again"""
    import docx

    document = docx.Document()
    document.add_heading("Bill", 1)
    document.add_table(1, 2).rows[0].cells[1].text = "tea"
    out = io.BytesIO()
    document.save(out)
    again = docx.Document(io.BytesIO(out.getvalue()))
    assert again.paragraphs[0].text == "Bill" and again.tables[0].cell(0, 1).text == "tea"


def pypdf():
    """joins two PDFs, turns a page, and reads the text"""
    from pypdf import PdfReader, PdfWriter
    from reportlab.pdfgen import canvas

    writer = PdfWriter()
    for text in ("first", "second"):
        page = io.BytesIO()
        sheet = canvas.Canvas(page)
        sheet.drawString(72, 720, text)
        sheet.save()
        writer.append(io.BytesIO(page.getvalue()))
    writer.pages[1].rotate(90)
    out = io.BytesIO()
    writer.write(out)
    pages = PdfReader(out).pages
    assert [page.extract_text().strip() for page in pages] == ["first", "second"] and pages[1].rotation == 90


def pyyaml():
    """loads and dumps by its C library"""
    import yaml

    value = yaml.load("a: [1, 2]\nb: {c: 2026-01-30}\n", Loader=yaml.CSafeLoader)
    assert value == {"a": [1, 2], "b": {"c": datetime.date(2026, 1, 30)}}
    assert yaml.dump({"x": [1]}, Dumper=yaml.CSafeDumper) == "x:\n- 1\n"


def python_dateutil():
    """parses a date, adds a month, and lists every second Friday"""
    from dateutil import parser, relativedelta, rrule, tz

    day = parser.parse("Fri, 30 Jan 2026 10:00 +0100")
    assert (day + relativedelta.relativedelta(months=1)).day == 28
    assert day.astimezone(tz.gettz("Asia/Tokyo")).hour == 18
    fridays = rrule.rrule(rrule.WEEKLY, interval=2, byweekday=rrule.FR, count=2, dtstart=day)
    assert [found.day for found in fridays] == [30, 13]


def pytz():
    """converts a time across the end of summer time"""
    import pytz as package

    zone = package.timezone("Europe/Berlin")
    before = zone.localize(datetime.datetime(2026, 10, 25, 1, 30))
    assert zone.normalize(before + datetime.timedelta(hours=2)).strftime("%H:%M %Z") == "02:30 CET"


def tzdata():
    """gives zoneinfo a zone without the host's files"""
    import zoneinfo

    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        when = datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
        assert when.utcoffset() == datetime.timedelta(hours=-4)
    finally:
        zoneinfo.reset_tzpath()
