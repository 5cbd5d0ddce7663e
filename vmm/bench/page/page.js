'use strict';
// Draws the page of `mayfly bench restore --html` from the JSON in it, with Chart.js.
const data = JSON.parse(document.getElementById('data').textContent);
const COLOURS = ['#9aa5b1', '#0b6e99', '#d9a441', '#b5482f', '#4c7f4a', '#7a4f9a'];

function element(parent, name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

// The share of the runs that took at most so long.
function distribution(label, values, colour) {
  const sorted = [...values].sort((a, b) => a - b);
  const points = sorted.map((x, i) => ({x, y: 100 * (i + 1) / sorted.length}));
  return {label, data: points, borderColor: colour, backgroundColor: colour, borderWidth: 2,
    pointRadius: 0, showLine: true, stepped: true};
}

function canvasIn(section, height) {
  const holder = element(section, 'div');
  holder.className = 'chart';
  holder.style.height = height + 'px';
  return element(holder, 'canvas');
}

const OPTIONS = {animation: false, maintainAspectRatio: false, parsing: false, normalized: true};

function drawDistributions(row) {
  const section = element(document.getElementById('distributions'), 'section');
  element(section, 'h3', row.name);
  const sets = [
    distribution('floor', row.floor_us, COLOURS[0]),
    distribution('first instruction', row.first_instruction_us, COLOURS[1]),
    distribution('working set, floor', row.working_set_floor_us, COLOURS[2]),
    distribution('working set', row.working_set_us, COLOURS[3]),
  ];
  new Chart(canvasIn(section, 260), {
    type: 'scatter',
    data: {datasets: sets},
    options: {...OPTIONS, scales: {
      x: {type: 'logarithmic', title: {display: true, text: 'µs from the call that restores'}},
      y: {min: 0, max: 100, title: {display: true, text: '% of the runs'}},
    }},
  });
}

// One bar a row, the phases of its median restore one behind the other.
function drawTimeLine() {
  const section = document.getElementById('time-line');
  const labels = data.rows.map((row) => row.name);
  const sets = data.phases.map((phase, i) => ({
    label: phase.label,
    data: data.rows.map((row) => row.phases_us[i]),
    backgroundColor: COLOURS[(i + 1) % COLOURS.length],
  }));
  new Chart(canvasIn(section, 80 + 34 * labels.length), {
    type: 'bar',
    data: {labels, datasets: sets},
    options: {animation: false, maintainAspectRatio: false, indexAxis: 'y', scales: {
      x: {stacked: true, title: {display: true, text: 'µs'}},
      y: {stacked: true},
    }},
  });
}

drawTimeLine();
data.rows.forEach(drawDistributions);
// For whoever waits until the page is there.
document.body.dataset.charts = String(Object.keys(Chart.instances).length);
