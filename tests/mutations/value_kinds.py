"""Kinds of values: for each an expression that makes one, and the Python path to the leaf that changes.

In an expression `X` is what the kind holds. What may stand there is told by `holds`: any value, or only a small
number, a text, and so on. In a path `V` is the value. The names come from `value_kit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

HANDLE = "a handle: it is listed and never compared"
CLASS = "a class: it is compared by its name"
SECRET = "a secret: it is redacted, and at best EQUIVALENT"


@dataclass(frozen=True)
class Kind:
    """One kind of value."""

    name: str
    family: str
    holds: str
    make: str
    path: str
    unchanged_only: str = ""
    """Why a change of its leaf need not be noticed; "" where it must be."""


_TABLE = {
    "containers": """
list | any | [1, X] | V[1]
tuple | any | (X, 2) | V[0]
dict of texts | any | {"a": 1, "b": X} | V["b"]
dict of numbers | any | {7: X, 8: 0} | V[7]
dict of tuples | any | {("a", 1): X} | V[("a", 1)]
dict key | hash | {X: 1} | list(V)[0]
dict order | flag | dict([("a", 1), ("b", 2)][:: -1 if X else 1]) | list(V)[0]
set | hash | {X} | list(V)[0]
frozenset | hash | frozenset([X, None]) | len(V), sorted(map(repr, V))
deque | any | deque([X, 1], maxlen=3) | V[0]
deque limit | int | deque([1], maxlen=X + 1) | V.maxlen
OrderedDict | any | OrderedDict(a=X) | V["a"]
OrderedDict order | flag | OrderedDict([("a", 1), ("b", 2)][:: -1 if X else 1]) | list(V)[0]
Counter | int | Counter({"a": X}) | V["a"]
defaultdict of list | any | having(defaultdict(list, a=X)) | V["a"]
defaultdict with lambda | any | defaultdict(lambda: 3, a=X) | V["a"]
defaultdict factory | any | defaultdict(closing_over(X)) | V.default_factory()
ChainMap | any | ChainMap({"a": 1}, {"b": X}) | V["b"]
mappingproxy | any | MappingProxyType({"a": X}) | V["a"]
UserDict | any | UserDict(a=X) | V["a"]
UserList | any | UserList([X]) | V[0]
UserString | text | UserString(X) | V.data
dict keys view | hash | {X: 1}.keys() | list(V)[0]
dict values view | any | {1: X}.values() | list(V)[0]
dict items view | any | {1: X}.items() | list(V)[0][1]
list beside much | any | ["word " * 4000, X] | V[1]
list nested 150 deep | any | deep(X, 150) | bottom(V, 150)
objects nested 60 deep | any | deep_objects(X, 60) | bottom(V, 60)
cycle of a list | any | in_cycle(X) | V[0]
same twice or a copy | flag | same_twice(1, X) | V[0] is V[1]
dict of 50,000 numbers | int | ascending(50000, X) | V[25000]
list of 50,000 | int | listed(50000, X) | V[25000]
2,000 objects | any | many_objects(2000, X) | V[1000].a
text of 200,000 | text | long_text(200000, X) | V[100000:100010]
bytes of 100,000 | text | long_text(100000, X).encode() | V[50000:50010]
GenericAlias | flag | list[(int, str)[X]] | V.__args__[0].__name__
slice | int | slice(1, X + 2) | V.stop
range | int | range(X + 2) | V.stop
struct_time | int | time.gmtime(X * 100000) | V.tm_hour
""",
    "subclasses": """
list with attributes | any | having(Ints([1]), a=X) | V.a
list subclass | any | Ints([X]) | V[0]
dict with attributes | any | having(Table(b=1), a=X) | V.a
dict subclass | any | Table(a=X) | V["a"]
dict with missing | any | Missing(a=X) | V["a"]
tuple subclass | any | Pair((X, 1)) | V[0]
tuple with attributes | any | having(Pair((1,)), a=X) | V.a
text subclass | text | Words(X) | str(V)
text with attributes | any | having(Words("w"), a=X) | V.a
number subclass | int | Number(X) | int(V)
number with attributes | any | having(Number(3), a=X) | V.a
float with attributes | any | having(Share(0.5), a=X) | V.a
bytes with attributes | any | having(Raw(b"r"), a=X) | V.a
set subclass | hash | Group([X]) | list(V)[0]
set with attributes | any | having(Group(), a=X) | V.a
frozenset with attributes | any | having(Frozen(), a=X) | V.a
deque subclass | any | having(Ring([1], 3), a=X) | V.a
namedtuple subclass | any | Point(X, 1) | V.x
namedtuple with attributes | any | having(Point(1, 2), a=X) | V.a
slim namedtuple | any | SlimPoint(1, X) | V.y
NamedTuple | any | TypedPoint(X) | V.x
TypedDict | any | Ranked(a=X) | V["a"]
Sequence | any | Rows(1, X) | V[1]
Mapping | any | Lookup({"a": X}) | V["a"]
MutableMapping | any | called(Store(), ("__setitem__", "a", X)) | V["a"]
Set | hash | Members([X]) | V.members[0]
""",
    "objects": """
object | any | Box(X) | V.a
object of objects in a list | any | Box([Box(X)]) | V.a[0].a
object with an equal look | any | Kept(X) | V.a
object whose methods raise | any | Broken(X) | V.a
object with a private name | any | Hidden(X) | V.reveal()
object with __getattr__ | any | Guarded(X) | V.__dict__["a"]
slots | any | Slotted(X) | V.a
slots and a dictionary | any | SlottedAndMore(1, X) | V.b
inherited slots | any | SlottedAndMore(X, 1) | V.a
object that pickles without | any | Pickled(X) | V.a
object that copies without | any | Copied(X) | V.a
object to call | any | Called(X) | V()
object that may not be iterated | any | Managed(X) | V.a
child of a parent | any | Node(1, Node(X)) | V.parent.a
parent of a child | any | parent_of(X) | V.children[0].a
object that holds itself | any | self_holding(X) | V.me.me.a
object of a metaclass | any | OfMeta(X) | V.a
object of an abstract class | any | Concrete(X) | V.a
generic object | any | Typed[int](X) | V.a
object of a local class | any | local_object(X) | V.a
object of a made class | any | having(made_class(1)(), b=X) | V.b
made class | any | made_class(X) | V.a | CLASS
SimpleNamespace | any | SimpleNamespace(a=[X]) | V.a[0]
argparse.Namespace | any | argparse.Namespace(a=X) | V.a
cached property | any | having(Box(1), cached=X) | V.cached
class of an object | flag | (Box, Kept)[X](1) | type(V).__name__
attribute that is more | flag | having(Box(1), **{"more": 1} if X else {}) | hasattr(V, "more")
""",
    "dataclasses and enums": """
dataclass | any | Data(X) | V.a
frozen dataclass | any | FrozenData(X) | V.a
slotted dataclass | any | SlottedData(X) | V.a
frozen slotted dataclass | any | FrozenSlottedData(X) | V.a
hidden dataclass field | any | KeywordData(a=1, hidden=X) | V.hidden
dataclass of its own init | any | MadeData(X) | V.total[0]
dataclass of an object | any | Data(Box([X])) | V.a.a[0]
dataclass of dataclasses | any | Data([FrozenData(Data(X))]) | V.a[0].a.a
dataclass with attributes | any | having(Data(1), more=X) | V.more
dataclass that is a list | any | DataList(X) | V.a
generic dataclass | any | GenericData[int](1, [X]) | V.many[0]
enum | flag | (Colour.RED, Colour.BLUE)[X] | V.name
IntEnum | flag | (Size.SMALL, Size.LARGE)[X] | V.name
Flag | flag | (Access.READ, Access.BOTH)[X] | V.value
StrEnum | flag | (Mode.ON, Mode.OFF)[X] | V.name
enum of lists | flag | (Planet.EARTH, Planet.MARS)[X] | V.name
""",
    "callables": """
function | flag | (greedy, timid)[X] | V.__name__
builtin function | flag | (len, sum)[X] | V.__name__
C function of a module | flag | (math.sin, math.cos)[X] | V.__name__
closure | any | closing_over(X) | V()
closure of a closure | any | closing_twice(X) | V()()
closure that calls itself | any | recursive(X) | V(1)
default argument | any | with_default(X) | V()
keyword default | any | with_default(X) | V.__kwdefaults__["z"]
lambda over a value | any | (lambda a: lambda: a)(X) | V()
one of two lambdas | flag | ((lambda: 1), (lambda: 2))[X] | V()
lambda default | any | lambda a=X: a | V()
function with an attribute | any | having(closing_over(1), a=X) | V.a
wrapped function | any | decorated(X) | V()
lru_cache | any | cached(X) | V()
function of a text | text | of_text(X) | V()
partial | any | functools.partial(greedy, X) | V.args[0]
partial keyword | any | functools.partial(greedy, x=X) | V.keywords["x"]
partial function | flag | functools.partial((greedy, timid)[X], 3) | V.func.__name__
partial of a partial | any | functools.partial(functools.partial(greedy), X) | V()
bound method | any | Box(X).get | V()
bound method of slots | any | Slotted(X).__reduce_ex__ | V.__self__.a
method name | flag | (Box(1).get, Box(1).named)[X] | V.__name__
class method | flag | (Box.named, Kept.named)[X] | V()
method of a list | any | [X].copy | V()[0]
method of a text | text | X.upper | V()
itemgetter | int | operator.itemgetter(X) | V("abcdefghijklmnopqrst")
attrgetter | text | operator.attrgetter(X) | V.__reduce__()[1][0]
methodcaller | text | operator.methodcaller("join", [X]) | V("-")
unbound method | flag | (Box.get, Kept.__repr__)[X] | V.__name__
property | any | property(closing_over(X)) | V.fget()
staticmethod | any | staticmethod(closing_over(X)) | V()
code object | text | of_text(X).__code__ | V.co_consts[-1]
cell | any | types.CellType(X) | V.cell_contents
""",
    "types and modules": """
type | flag | (int, str)[X] | V.__name__
class | flag | (Box, Slotted)[X] | V.__name__
module | flag | (json, math)[X] | V.__name__
union | flag | (int|str, int|None)[X] | str(V)
Optional | flag | typing.Optional[(int, str)[X]] | str(V)
typing alias | flag | typing.Dict[str, (int, str)[X]] | str(V)
TypeVar | text | typing.TypeVar(X) | V.__name__
ForwardRef | text | typing.ForwardRef(X) | V.__forward_arg__
Signature | flag | inspect.signature((greedy, with_default)[X]) | str(V)
Ellipsis or NotImplemented | flag | (..., NotImplemented)[X] | str(V)
""",
    "iterators": """
list iterator | any | iter([X, 1]) | next(V)
position of an iterator | flag | called(iter([5, 6, 7]), *[("__next__",)] * X) | next(V)
tuple iterator | any | iter((X, 1)) | next(V)
dict iterator | any | iter({1: X}.items()) | next(V)[1]
set iterator | hash | iter({X}) | next(V)
text iterator | text | iter(X) | "".join(V)
range iterator | int | iter(range(X, 9)) | next(V)
reversed | any | reversed([1, X]) | next(V)
unstarted generator | any | produce(X, 2) | next(V)
started generator | any | called(produce(1, X, 3), ("__next__",)) | next(V)
generator expression | any | (y for y in [X]) | next(V)
map | any | map(greedy, [X]) | next(V)
filter | text | filter(None, [X]) | next(V)
zip | any | zip([1], [X]) | next(V)[1]
enumerate | any | enumerate([X]) | next(V)[1]
count | int | itertools.count(X) | next(V)
chain | any | itertools.chain([X], [1]) | next(V)
islice | any | itertools.islice([1, X, 2], 1, 2) | next(V)
cycle | any | itertools.cycle([X, 1]) | next(V)
repeat | any | itertools.repeat(X, 3) | next(V)
product | any | itertools.product([X], [1]) | next(V)[0]
permutations | any | itertools.permutations([X, 1]) | next(V)[0]
accumulate | int | itertools.accumulate([X, 2]) | next(V)
iterator of its own | any | Countdown(X) | next(V)
iterator until | any | iter(closing_over(X), None) | next(V)
""",
    "buffers": """
bytearray | text | bytearray(X.encode()) | bytes(V)
memoryview | text | memoryview(X.encode()) | V.tobytes()
memoryview of a part | text | memoryview(b"0" + X.encode())[1:] | V.tobytes()
array of int | int | array.array("i", [X, 1]) | V[0]
array of float | int | array.array("d", [X / 7]) | V[0]
array of texts | text | array.array("u", X) | V.tounicode()
ctypes.c_int | int | ctypes.c_int(X) | V.value
ctypes array | int | (ctypes.c_int * 3)(1, X, 2) | V[1]
ctypes structure | int | Struct(X, 0.5) | V.a
ctypes union | int | Either(a=X) | V.a
ctypes buffer | text | ctypes.create_string_buffer(X.encode()) | V.value
ctypes pointer | int | ctypes.pointer(ctypes.c_int(X)) | V.contents.value
ctypes text | text | ctypes.c_char_p(X.encode()) | V.value
StringIO | text | io.StringIO(X) | V.getvalue()
position of a StringIO | int | called(io.StringIO("abcdef"), ("read", X + 1)) | V.tell()
BytesIO | text | io.BytesIO(X.encode()) | V.getvalue()
text over bytes | text | io.TextIOWrapper(io.BytesIO(X.encode())) | V.buffer.getvalue()
Struct | flag | struct.Struct(("<i", "<d")[X]) | V.format
""",
    "threads and queues": """
Event | flag | having(threading.Event(), _flag=bool(X)) | V.is_set()
Barrier | int | threading.Barrier(X + 2) | V.parties
Semaphore | int | threading.Semaphore(X + 1) | V._value
Condition | flag | threading.Condition((threading.Lock, threading.RLock)[X]()) | type(V._lock).__name__ | HANDLE
Lock | flag | called(threading.Lock(), *[("acquire",)] * X) | V.locked() | HANDLE
local | any | having(threading.local(), a=X) | V.a
Queue | any | put(queue.Queue(), X) | V.queue[0]
LifoQueue | any | put(queue.LifoQueue(), X) | V.queue[0]
PriorityQueue | int | put(queue.PriorityQueue(), (X, "a")) | V.queue[0][0]
Queue size | int | queue.Queue(X + 1) | V.maxsize
SimpleQueue | any | put(queue.SimpleQueue(), X) | V.get_nowait()
asyncio.Queue | any | put(asyncio.Queue(), X) | V.get_nowait()
asyncio.Event | flag | called(asyncio.Event(), *[("set",)] * X) | V.is_set()
Future | any | future_of(X) | V.result()
Future with an error | any | exception_future(X) | V.exception().detail
ContextVar | any | contextvars.ContextVar("v", default=X) | V.get()
nullcontext | any | contextlib.nullcontext(X) | V.enter_result
ExitStack | any | called(contextlib.ExitStack(), ("enter_context", contextlib.nullcontext(X))) | V._exit_callbacks[0][1].__self__.enter_result
scheduler | any | called(sched.scheduler(), ("enterabs", 1, 1, greedy, (X,))) | V.queue[0].argument[0]
""",
    "references": """
weakref | flag | weakref.ref(KEEP[X]) | V().a
weak proxy | flag | weakref.proxy(KEEP[X]) | V.a
WeakValueDictionary | flag | weakref.WeakValueDictionary(k=KEEP[X]) | V["k"].a
WeakSet | flag | weakref.WeakSet([KEEP[X]]) | list(V)[0].a
WeakMethod | flag | weakref.WeakMethod(KEEP[X].get) | V()()
""",
    "errors": """
error | any | ValueError("e", X) | V.args[1]
error with attributes | any | Failure("e", X) | V.detail
error with a cause | any | caused(X) | V.__cause__.args[0]
error with a note | text | noted(X) | V.__notes__[0]
error that was raised | any | raised(X) | V.detail
ExceptionGroup | any | ExceptionGroup("g", [Failure("e", X)]) | V.exceptions[0].detail
OSError | int | OSError(X + 1, "no") | V.errno
UnicodeError | int | UnicodeDecodeError("utf-8", b"abc", X, 3, "no") | V.start
StopIteration | any | StopIteration(X) | V.value
KeyError | any | KeyError(X) | V.args[0]
""",
    "standard library": """
Decimal context | int | decimal.Context(prec=X + 5) | V.prec
ZoneInfo | flag | zoneinfo.ZoneInfo(("Asia/Tokyo", "Europe/Oslo")[X]) | V.key
time zone of its own | int | datetime.datetime(2026, 1, 1, tzinfo=Offset(X)) | V.tzinfo.minutes
fold of a datetime | flag | datetime.datetime(2026, 10, 25, 2, fold=int(X)) | V.fold
pattern | text | re.compile(X) | V.pattern
pattern flags | flag | re.compile("a", (re.I, re.M)[X]) | V.flags
match | text | re.match("(.*)", X) | V.group(1)
path | text | PosixPath("/tmp") / X | V.name
Windows path | text | PureWindowsPath("c:/") / X | V.name
Template | text | string.Template(X) | V.template
TextWrapper | int | textwrap.TextWrapper(width=X + 5) | V.width
Calendar | flag | calendar.Calendar(int(X)) | V.firstweekday
NormalDist | int | statistics.NormalDist(X, 1) | V.mean
TopologicalSorter | text | graphlib.TopologicalSorter({X: ["b"]}) | sorted(V.static_order())
Random | int | random.Random(X) | V.getstate()[1][1]
hash | text | hashlib.sha256(X.encode()) | V.hexdigest()
JSON encoder | int | json.JSONEncoder(indent=X) | V.indent
PrettyPrinter | int | pprint.PrettyPrinter(width=X + 5) | V._width
URL | text | urllib.parse.urlsplit("http://h/" + X) | V.path
cookie | text | http.cookies.SimpleCookie({"a": X}) | V["a"].value
e-mail | text | message_of(X) | V["Subject"]
configuration | text | config_of(X) | V["a"]["b"]
Element | text | element_of(X) | V[0].text
syntax tree | text | ast.parse(repr(X)) | V.body[0].value.value
token | text | tokenize.TokenInfo(1, X, (1, 0), (1, 1), "") | V.string
Mock | any | unittest.mock.NonCallableMock(spec_set=["a"], a=X) | V.a
IPv4 network | int | IPv4Network(f"10.{X}.0.0/16") | str(V)
singledispatch | any | functools.singledispatch(closing_over(X)) | V.dispatch(object)()
""",
    "numpy": """
numpy int | int | np.int32(X) | int(V)
numpy float | int | np.float32(X / 7) | float(V)
numpy bool | flag | np.bool_(X) | bool(V)
numpy text | text | np.str_(X) | str(V)
numpy bytes | text | np.bytes_(X.encode()) | bytes(V)
datetime64 | int | np.datetime64("2026-01-01") + X | str(V)
timedelta64 | int | np.timedelta64(X, "h") | str(V)
NaT or a time | flag | np.datetime64(("NaT", "2026-01-01")[X]) | str(V)
numpy complex | int | np.complex64(X + 1j) | complex(V)
numpy void | int | np.array([(X, 1.0)], dtype=[("a", "i4"), ("b", "f8")])[0] | int(V["a"])
array without dimensions | int | np.array(X) | int(V)
array | int | np.array([[1, X], [2, 3]]) | int(V[0, 1])
array of objects | any | np.fromiter([Box(X)], dtype=object) | V[0].a
structured array | int | np.array([(X, 1.0)], dtype=[("a", "i4"), ("b", "f4")]) | int(V[0]["a"])
nested structured array | int | np.array([(([1, 2, X],),)], dtype=[("a", [("b", "i2", 3)])]) | int(V[0]["a"]["b"][2])
structured array of objects | any | np.array([(1, Box(X))], dtype=[("a", "i4"), ("o", object)]) | V[0]["o"].a
recarray | int | np.rec.array([(X, 2.0)], dtype=[("a", "i4"), ("b", "f4")]) | int(V[0].a)
mask | flag | np.ma.masked_array([1, 2], mask=[X, 0]) | bool(V.mask[0])
masked array | int | np.ma.masked_array([X, 2], mask=[0, 1]) | int(V.data[0])
fill value | int | np.ma.masked_array([1, 2], mask=[0, 1], fill_value=X) | int(V.fill_value)
matrix | int | np.asmatrix([[X, 1]]) | int(V[0, 0])
array with attributes | any | having(np.zeros(2).view(Marked), a=X) | V.a
view with strides | int | np.array([X, 1, 2, 3])[::2] | int(V[0])
Fortran order | int | np.asfortranarray([[1, X], [2, 3]]) | int(V[0, 1])
read-only array | int | called(np.array([X, 1]), ("setflags", False)) | int(V[0])
big-endian array | int | np.array([X, 1], dtype=">i4") | int(V[0])
array of datetimes | int | np.array(["2026-01-01", "NaT"], dtype="M8[D]") + X | str(V[0])
array of texts in numpy | text | np.array([X, "zz"]) | str(V[0])
large array | int | np.concatenate([np.zeros(60000), [X], np.zeros(60000)]) | float(V[60000])
shape | flag | np.zeros(((2, 3), (3, 2))[X]) | V.shape
empty array's type | flag | np.zeros(0, dtype=("i4", "f4")[X]) | V.dtype.str
dtype | flag | np.dtype(("i4", "f8")[X]) | V.str
ufunc | flag | (np.add, np.multiply)[X] | V.__name__
Generator | int | np.random.default_rng(X) | V.bit_generator.state["state"]["state"]
RandomState | int | np.random.RandomState(X) | int(V.get_state()[1][0])
SeedSequence | int | np.random.SeedSequence(X) | V.entropy
Polynomial | int | np.polynomial.Polynomial([X, 1]) | float(V.coef[0])
vectorize | any | np.vectorize(closing_over(X)) | V.pyfunc()
""",
    "pandas": """
DataFrame | int | pd.DataFrame({"a": [X, 1], "b": [0.5, 1.5]}) | int(V["a"].iloc[0])
DataFrame of texts | text | pd.DataFrame({"a": ["x", X]}) | V["a"].iloc[1]
DataFrame of objects | any | pd.DataFrame({"a": pd.Series([Box(X)], dtype=object)}) | V["a"].iloc[0].a
DataFrame index | int | pd.DataFrame({"a": [1, 2]}, index=[X, 9]) | int(V.index[0])
DataFrame column | text | pd.DataFrame({X: [1]}) | V.columns[0]
DataFrame column type | flag | pd.DataFrame({"a": [1, 2]}).astype(("int64", "float64")[X]) | str(V.dtypes.iloc[0])
DataFrame attrs | any | having(pd.DataFrame({"a": [1]}), attrs={"k": X}) | V.attrs["k"]
DataFrame of 20,000 rows | int | pd.DataFrame({"a": listed(20000, X)}) | int(V["a"].iloc[10000])
DataFrame of a MultiIndex | int | pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", X), ("y", 1)])) | int(V.index[0][1])
Series | int | pd.Series([1, X]) | int(V.iloc[1])
Series name | text | pd.Series([1], name=X) | V.name
Series of nullable ints | int | pd.Series([X, None], dtype="Int64") | int(V.iloc[0])
Series of categories | flag | pd.Series([("a", "b")[X], "b"], dtype="category") | V.iloc[0]
Series of times | int | pd.Series(pd.to_datetime(["2026-01-01"]).tz_localize("UTC") + pd.Timedelta(days=X)) | str(V.iloc[0])
Series of Arrow | int | pd.Series([X, 2], dtype="int64[pyarrow]") | int(V.iloc[0])
sparse Series | int | pd.Series(pd.arrays.SparseArray([0, X + 1])) | int(V.iloc[1])
Index | int | pd.Index([X, 5]) | int(V[0])
RangeIndex | int | pd.RangeIndex(X + 3) | V.stop
DatetimeIndex | int | pd.date_range("2026-01-01", periods=X + 1) | len(V)
IntervalIndex | int | pd.interval_range(0, X + 2) | len(V)
MultiIndex | int | pd.MultiIndex.from_product([["a"], [X, 7]]) | int(V[0][1])
Categorical | flag | pd.Categorical([("a", "b")[X]], categories=["a", "b"]) | V[0]
category order | flag | pd.Categorical(["a"], categories=["a", "b"], ordered=bool(X)) | V.ordered
Timestamp | int | pd.Timestamp("2026-01-01") + pd.Timedelta(nanoseconds=X) | str(V)
Timestamp zone | flag | pd.Timestamp("2026-01-01", tz=("UTC", "Asia/Tokyo")[X]) | str(V.tz)
Timedelta | int | pd.Timedelta(seconds=X) | str(V)
Period | int | pd.Period("2026-01", "M") + X | str(V)
Interval | int | pd.Interval(0, X + 1) | V.right
NA or a number | flag | (pd.NA, 1)[X] | str(V)
DateOffset | int | pd.DateOffset(days=X) | V.kwds["days"]
groups | int | pd.DataFrame({"a": [X, 7]}).groupby("a") | sorted(map(int, V.groups))
rolling window | int | pd.Series([1, 2]).rolling(X + 1) | V.window
""",
    "pydantic": """
model | any | Model(a=X) | V.a
frozen model | any | FrozenModel(a=X) | V.a
model with extras | any | OpenModel(more=X) | V.more
private attribute | any | having(PrivateModel(), _kept=X) | V._kept
SecretStr | text | SecretModel(word=X) | V.word.get_secret_value() | SECRET
fields that were set | flag | OptionalModel(**({"a": None} if X else {})) | sorted(V.model_fields_set)
root model | any | RootModel([X]) | V.root[0]
generic model | int | IntModel(a=X) | V.a
aliased model | any | AliasedModel(anAlias=X) | V.a
computed field | int | ComputedModel(a=X) | V.twice
model of models | any | OuterModel(parts=[Model(a=X)]) | V.parts[0].a
mapping of models | any | OuterModel(parts=[], by_name={"k": Model(a=X)}) | V.by_name["k"].a
union field | flag | UnionModel(a=(1, "1")[X]) | repr(V.a)
pydantic dataclass | any | ModelData(X) | V.a
constructed model | any | Model.model_construct(a=X) | V.a
bare secret | text | pydantic.SecretStr(X) | V.get_secret_value() | SECRET
URL of pydantic | text | pydantic.HttpUrl("http://h/" + X) | V.path
ByteSize | int | pydantic.ByteSize(X) | int(V)
TypeAdapter | flag | pydantic.TypeAdapter((int, str)[X]) | V._type.__name__
FieldInfo | int | pydantic.Field(default=X) | V.default
""",
    "secrets": """
text with a secret | text | "password=" + X + "Q7zt9Lm2" | V | SECRET
name of a secret | text | {"password": X} | V["password"] | SECRET
attribute of a secret | text | having(Box(1), api_key=X) | V.api_key | SECRET
secret in a key | text | {"password=" + X + "Q7zt9Lm2": 1} | list(V)[0] | SECRET
secret in a function | text | closing_over("password=" + X + "Q7zt9Lm2") | V() | SECRET
""",
}


def _rows() -> list[Kind]:
    reasons = {"CLASS": CLASS, "HANDLE": HANDLE, "SECRET": SECRET}
    made = []
    for family, text in _TABLE.items():
        for line in text.strip().splitlines():
            name, holds, make, path, *why = line.split(" | ")
            made.append(Kind(name, family, holds, make, path, reasons[why[0]] if why else ""))
    return made


KINDS = _rows()
