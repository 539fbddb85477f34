"""Pages of reports as tests read them, and names that would break a careless page."""

from html.parser import HTMLParser

SCRIPT = "<script>alert(1)</script>"
OWN_RULE = '<b onclick="alert(2)">mine'


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.pieces = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        if self.tags[-1:] != ["style"]:
            self.pieces.append(data)

    @property
    def text(self):
        return " ".join("".join(self.pieces).split())


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")
