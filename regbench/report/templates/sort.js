"use strict";
// A click on a head sorts by its column: first the better side on top, at the next click the other.
// What has no number stays at the end; equal cells keep their order.
(function () {
  function compare(a, b, isText) {
    if (isText) { return a < b ? -1 : a > b ? 1 : 0; }
    return Number(a) - Number(b);
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      head.querySelector("button").addEventListener("click", function () {
        var now = head.getAttribute("aria-sort");
        var way = now === null ? head.dataset.first : now === "ascending" ? "descending" : "ascending";
        var sign = way === "ascending" ? 1 : -1;
        var isText = head.classList.contains("text");
        var body = table.tBodies[0];
        var rows = Array.from(body.rows);
        rows.sort(function (first, second) {
          var a = first.cells[column].dataset.key, b = second.cells[column].dataset.key;
          if (a === "" || b === "") { return (a === "") - (b === ""); }
          return sign * compare(a, b, isText);
        });
        rows.forEach(function (row) { body.appendChild(row); });
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", way);
      });
    });
  });
})();
