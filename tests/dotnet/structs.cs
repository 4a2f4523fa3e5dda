// SPDX-License-Identifier: MIT
//
// structs layouts        prints the size and the offsets of structures that are declared by hand, as C# programmers do
// structs arrays FILE    reads arrays of structures from a file by ReadArray, prints them, and writes others by WriteArray
//
// test_declarations.py declares the same ones in Python.

using System;
using System.IO.MemoryMappedFiles;
using System.Linq;
using System.Runtime.InteropServices;

struct Point { public int X, Y; }

struct MyData { public int Number; public Point Place; }

struct Trade
{
    public int Id;
    public bool Sell;
    public double Price;
    public short Venue;
    public char Currency;
    public long Time;
    public bool Settled;
}

struct Mixed { public byte A; public short B; public sbyte C; public uint D; public byte E; public ulong F; public byte G; }

struct Floats { public float A; public double B; public byte C; public float D; }

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct Packed1 { public byte A; public int B; public short C; public double D; }

[StructLayout(LayoutKind.Sequential, Pack = 2)]
struct Packed2 { public byte A; public int B; public byte C; public double D; public byte E; }

[StructLayout(LayoutKind.Sequential, Pack = 4)]
struct Packed4 { public byte A; public double B; public bool C; public long D; public byte E; }

struct Nested { public byte A; public Trade B; public byte C; public Packed1 D; public short E; public Packed2 F; public Packed4 G; }

unsafe struct Buffers
{
    public byte A;
    public fixed char Name[5];
    public fixed int Values[3];
    public fixed byte Raw[3];
    public fixed double Reals[2];
    public fixed bool Flags[3];
}

enum Small : byte { A }
enum Plain { A }
enum Large : ulong { A }

struct Enums { public Small A; public Plain B; public Small C; public Large D; public Small E; }

struct Guids { public byte A; public Guid B; public byte C; public Guid D; }

struct Spans { public byte A; public TimeSpan B; public byte C; }

[StructLayout(LayoutKind.Explicit)]
struct Overlapping { [FieldOffset(0)] public int A; [FieldOffset(0)] public float B; [FieldOffset(2)] public short C; }

[StructLayout(LayoutKind.Explicit, Size = 20)]
struct Sized { [FieldOffset(4)] public int A; [FieldOffset(9)] public byte B; }

struct One { public byte A; }

struct Two { public short A; }

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct Three { public byte A; public short B; }

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct Five { public byte A; public int B; }

struct Twelve { public int A; public short B; public int C; }

static unsafe class Program
{
    static void Main(string[] arguments)
    {
        if (arguments[0] == "layouts")
            Layouts();
        else
            using (var map = MemoryMappedFile.CreateFromFile(arguments[1]))
            using (var view = map.CreateViewAccessor())
                Arrays(view);
    }

    static void Show(string name, int size, void* start, params IntPtr[] fields)
    {
        Console.WriteLine("{0} {1} {2}", name, size, string.Join(" ", fields.Select(at => (long)at - (long)start)));
    }

    static IntPtr At(void* field) { return (IntPtr)field; }

    static void Layouts()
    {
        MyData a;
        Show("MyData", sizeof(MyData), &a, At(&a.Number), At(&a.Place.X), At(&a.Place.Y));
        Trade b;
        Show("Trade", sizeof(Trade), &b, At(&b.Id), At(&b.Sell), At(&b.Price), At(&b.Venue), At(&b.Currency), At(&b.Time), At(&b.Settled));
        Mixed c;
        Show("Mixed", sizeof(Mixed), &c, At(&c.A), At(&c.B), At(&c.C), At(&c.D), At(&c.E), At(&c.F), At(&c.G));
        Floats d;
        Show("Floats", sizeof(Floats), &d, At(&d.A), At(&d.B), At(&d.C), At(&d.D));
        Packed1 e;
        Show("Packed1", sizeof(Packed1), &e, At(&e.A), At(&e.B), At(&e.C), At(&e.D));
        Packed2 f;
        Show("Packed2", sizeof(Packed2), &f, At(&f.A), At(&f.B), At(&f.C), At(&f.D), At(&f.E));
        Packed4 g;
        Show("Packed4", sizeof(Packed4), &g, At(&g.A), At(&g.B), At(&g.C), At(&g.D), At(&g.E));
        Nested h;
        Show("Nested", sizeof(Nested), &h, At(&h.A), At(&h.B), At(&h.C), At(&h.D), At(&h.E), At(&h.F), At(&h.G));
        Buffers i;
        Show("Buffers", sizeof(Buffers), &i, At(&i.A), At(i.Name), At(i.Values), At(i.Raw), At(i.Reals), At(i.Flags));
        Enums j;
        Show("Enums", sizeof(Enums), &j, At(&j.A), At(&j.B), At(&j.C), At(&j.D), At(&j.E));
        Guids k;
        Show("Guids", sizeof(Guids), &k, At(&k.A), At(&k.B), At(&k.C), At(&k.D));
        Spans l;
        Show("Spans", sizeof(Spans), &l, At(&l.A), At(&l.B), At(&l.C));
        Overlapping m;
        Show("Overlapping", sizeof(Overlapping), &m, At(&m.A), At(&m.B), At(&m.C));
        Sized n;
        Show("Sized", sizeof(Sized), &n, At(&n.A), At(&n.B));
    }

    // Four of each type: what is there, then what the test expects to find behind it.
    static void Arrays(MemoryMappedViewAccessor view)
    {
        Array<One>(view, 0, each => $"{each.A}", i => new One { A = (byte)(i + 9) });
        Array<Two>(view, 256, each => $"{each.A}", i => new Two { A = (short)(i - 9) });
        Array<Three>(view, 512, each => $"{each.A} {each.B}", i => new Three { A = (byte)i, B = (short)(i * -1000) });
        Array<Five>(view, 768, each => $"{each.A} {each.B}", i => new Five { A = (byte)i, B = i * -100000 });
        Array<Twelve>(view, 1024, each => $"{each.A} {each.B} {each.C}", i => new Twelve { A = i, B = (short)-i, C = i * 77777 });
    }

    static void Array<T>(MemoryMappedViewAccessor view, long at, Func<T, string> show, Func<int, T> make) where T : struct
    {
        var there = new T[4];
        int count = view.ReadArray(at, there, 0, 4);
        Console.WriteLine("{0} {1}: {2}", typeof(T).Name, count, string.Join(", ", there.Select(show)));
        view.WriteArray(at + 128, Enumerable.Range(0, 4).Select(make).ToArray(), 0, 4);
    }
}
