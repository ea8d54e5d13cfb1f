-- Asks for bodies that are the id over and over, and looks at every answer. The server closes its
-- connection behind some of them; the client must not notice.

local threads = {}
local fates = { "calm", "calm", "calm", "calm", "calm", "calm", "calm", "calm", "close", "linger" }
local sizes = { 0, 16, 1024, 1024, 16384, 102400 }

function setup(thread)
  table.insert(threads, thread)
end

function init()
  seen, wrong, first = 0, 0, ""
  id = 0
end

function request()
  id = id + 1
  local fate, size = fates[math.random(#fates)], sizes[math.random(#sizes)]
  return wrk.format("GET", string.format("/text/%s/%d/%d", fate, size, id))
end

function response(status, headers, body)
  seen = seen + 1
  local unit = headers["X-Id"] and string.format("%016d", tonumber(headers["X-Id"]))
  if status ~= 200 or not unit or body ~= string.rep(unit, #body / 16) then
    wrong = wrong + 1
    first = string.format("%d %s", status, body:sub(1, 80))
  end
end

function done()
  local all, bad, example = 0, 0, ""
  for _, thread in ipairs(threads) do
    all = all + thread:get("seen")
    bad = bad + thread:get("wrong")
    example = example .. thread:get("first")
  end
  print(string.format("answers: %d\nwrong answers: %d\n%s", all, bad, example))
end
