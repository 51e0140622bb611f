"use strict";
// Makes each heading of a sortable table a button. Without this script the tables stay as they are.
(() => {
  const said = document.getElementById("said");

  function compare(column, numbers, sign) {
    return (one, two) => {
      const a = one.cells[column].textContent.trim(), b = two.cells[column].textContent.trim();
      if (!numbers) return sign * a.localeCompare(b, "en", {numeric: true});
      const x = parseFloat(a.replaceAll(",", "")), y = parseFloat(b.replaceAll(",", ""));
      // A missing number comes last, whichever way the others go.
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    };
  }

  function sort(table, heading) {
    const numbers = heading.classList.contains("n");
    const now = heading.getAttribute("aria-sort");
    // The first click gives the highest numbers first, and names from a to z.
    const order = now === "descending" ? "ascending" : now === "ascending" ? "descending"
      : numbers ? "descending" : "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare(heading.cellIndex, numbers, order === "ascending" ? 1 : -1)));
    said.textContent = `${table.caption.textContent}: sorted by ${heading.textContent.trim()}, ${order}`;
  }

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, heading));
    }
  }

  // A printed page cannot be opened further.
  const closed = new Set();
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not([open])")) {
      closed.add(part);
      part.open = true;
    }
  });
  window.addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
    closed.clear();
  });
})();
