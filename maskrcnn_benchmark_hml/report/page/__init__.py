"""The report page of ``hml report --html``: one HTML file that needs no network and no other file."""
