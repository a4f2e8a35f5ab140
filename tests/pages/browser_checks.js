// Put at the end of a copy of a page, behind its number and the width that it is to have: tells the page around it what is
// wrong with its layout.
(() => {
  const problems = [];
  const tell = (text) => { if (problems.length < 20) problems.push(text); };
  for (const fold of document.querySelectorAll('details')) fold.open = true;

  const overlap = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  // Elements are compared with those after them, of which there are a few dozen.
  const checkApart = (where, elements) => {
    const boxes = elements.map((element) => [element.textContent.trim(), element.getBoundingClientRect()]);
    for (let i = 0; i < boxes.length; ++i)
      for (let j = i + 1; j < boxes.length; ++j)
        if (overlap(boxes[i][1], boxes[j][1])) tell(`${where}: "${boxes[i][0]}" and "${boxes[j][0]}" overlap`);
  };

  const width = document.documentElement.clientWidth;
  if (width !== wanted) tell(`it is shown ${width} px wide`);
  if (document.documentElement.scrollWidth > width) tell(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const element of document.querySelectorAll('h1, h2, p, figure, figcaption, summary, .scroll, .legend li'))
    if (element.getBoundingClientRect().right > width + 1) tell(`"${element.textContent.slice(0, 40)}" leaves the page`);
  let texts = 0;
  for (const figure of document.querySelectorAll('figure')) {
    const name = figure.querySelector('figcaption').textContent;
    const drawing = figure.querySelector('svg[role="img"]');
    const box = drawing.getBoundingClientRect();
    const labels = [...drawing.querySelectorAll('text')];
    texts += labels.length;
    checkApart(name, labels);
    checkApart(name, [...figure.querySelectorAll('.legend li')]);
    for (const label of labels) {
      const place = label.getBoundingClientRect();
      if (place.left < box.left - 1 || place.right > box.right + 1 || place.bottom > box.bottom + 1)
        tell(`${name}: "${label.textContent}" leaves the drawing`);
      const pixels = parseFloat(getComputedStyle(label).fontSize) * box.width / drawing.viewBox.baseVal.width;
      if (pixels < 9) tell(`${name}: letters of ${pixels} px`);
    }
  }
  const loaded = performance.getEntriesByType('resource').length;
  if (loaded > 0) tell(`${loaded} resources were loaded`);
  parent.postMessage(`${page}, ${wanted} px, ${texts} labels: ${problems.length ? problems.join('\n') : 'good'}`, '*');
})();
