// SPDX-License-Identifier: MIT
//
// The same operations in C#, measured in turns that the other side of stdin and stdout asks for:
//   make KIND [ARGUMENTS]   -> number of a loop, after it was warmed up
//   run NUMBER TURNS        -> nanoseconds
//   drop NUMBER             -> ok
// An error is answered by "error" and its text.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Threading;

[StructLayout(LayoutKind.Sequential)]
struct Inner { public int Count; public double Price; }

[StructLayout(LayoutKind.Sequential)]
struct Outer { public long Id; public Inner Inner; }

abstract class Loop : IDisposable
{
    public static long Sink;
    protected static readonly double NanosecondsPerTick = 1e9 / Stopwatch.Frequency;
    public abstract void Turns(long count);
    public virtual void Dispose() { }

    public virtual double Measure(long count)
    {
        long start = Stopwatch.GetTimestamp();
        Turns(count);
        return (Stopwatch.GetTimestamp() - start) * NanosecondsPerTick;
    }

    // Tiered compilation counts calls, waits 100 ms, and compiles in the background.
    public void WarmUp()
    {
        for (int i = 0; i < 4; i++)
        {
            long count = 1;
            while (Measure(count) < 2e7) count *= 2;
            Thread.Sleep(150);
        }
    }
}

abstract class OnFile : Loop
{
    protected readonly MemoryMappedFile Map;
    protected readonly MemoryMappedViewAccessor View;

    protected OnFile(string path)
    {
        Map = MemoryMappedFile.CreateFromFile(path, FileMode.Open);
        View = Map.CreateViewAccessor();
    }

    public override void Dispose() { View.Dispose(); Map.Dispose(); }
}

class ReadInt32 : OnFile
{
    public ReadInt32(string path) : base(path) { }
    public override void Turns(long count)
    {
        long sum = 0;
        for (long i = 0; i < count; i++) sum += View.ReadInt32((i & 31) * 8);
        Sink = sum;
    }
}

class ReadInt64 : OnFile
{
    public ReadInt64(string path) : base(path) { }
    public override void Turns(long count)
    {
        long sum = 0;
        for (long i = 0; i < count; i++) sum += View.ReadInt64((i & 31) * 8);
        Sink = sum;
    }
}

class ReadDouble : OnFile
{
    public ReadDouble(string path) : base(path) { }
    public override void Turns(long count)
    {
        double sum = 0;
        for (long i = 0; i < count; i++) sum += View.ReadDouble((i & 31) * 8);
        Sink = (long)sum;
    }
}

class WriteInt32 : OnFile
{
    public WriteInt32(string path) : base(path) { }
    public override void Turns(long count) { for (long i = 0; i < count; i++) View.Write((i & 31) * 8, 1234567890); }
}

class WriteInt64 : OnFile
{
    public WriteInt64(string path) : base(path) { }
    public override void Turns(long count) { for (long i = 0; i < count; i++) View.Write((i & 31) * 8, 1234567890123L); }
}

class WriteDouble : OnFile
{
    public WriteDouble(string path) : base(path) { }
    public override void Turns(long count) { for (long i = 0; i < count; i++) View.Write((i & 31) * 8, 0.1); }
}

class ReadStruct : OnFile
{
    public ReadStruct(string path) : base(path) { }
    public override void Turns(long count)
    {
        long sum = 0;
        for (long i = 0; i < count; i++) { View.Read((i & 31) * 8, out Outer value); sum += value.Id; }
        Sink = sum;
    }
}

class WriteStruct : OnFile
{
    public WriteStruct(string path) : base(path) { }
    public override void Turns(long count)
    {
        var value = new Outer { Id = 1, Inner = new Inner { Count = 2, Price = 3 } };
        for (long i = 0; i < count; i++) View.Write((i & 31) * 8, ref value);
    }
}

class ReadArray<T> : OnFile where T : struct
{
    protected readonly T[] Elements;
    public ReadArray(string path, int size) : base(path) { Elements = new T[size / Marshal.SizeOf<T>()]; }
    public override void Turns(long count)
    {
        for (long i = 0; i < count; i++) Sink += View.ReadArray(0, Elements, 0, Elements.Length);
    }
}

class WriteArray<T> : ReadArray<T> where T : struct
{
    public WriteArray(string path, int size) : base(path, size) { }
    public override void Turns(long count)
    {
        for (long i = 0; i < count; i++) View.WriteArray(0, Elements, 0, Elements.Length);
    }
}

class RandomReads : OnFile
{
    readonly long[] offsets = new long[1 << 20];
    protected long Next;
    public RandomReads(string path) : base(path)
    {
        var random = new Random(1);
        long words = new FileInfo(path).Length / 8;
        for (int i = 0; i < offsets.Length; i++) offsets[i] = (long)(random.NextDouble() * words) * 8;
    }
    protected long Offset() { return offsets[Next++ & (offsets.Length - 1)]; }
    public override void Turns(long count)
    {
        long sum = 0;
        for (long i = 0; i < count; i++) sum += View.ReadInt64(Offset());
        Sink = sum;
    }
}

class RandomStreamReads : RandomReads
{
    readonly MemoryMappedViewStream stream;
    readonly byte[] word = new byte[8];
    public RandomStreamReads(string path) : base(path) { stream = Map.CreateViewStream(); }
    public override void Turns(long count)
    {
        long sum = 0;
        for (long i = 0; i < count; i++)
        {
            stream.Position = Offset();
            stream.Read(word, 0, 8);
            sum += BitConverter.ToInt64(word, 0);
        }
        Sink = sum;
    }
    public override void Dispose() { stream.Dispose(); base.Dispose(); }
}

class SequentialReads : OnFile
{
    readonly MemoryMappedViewStream stream;
    readonly byte[] buffer;
    public SequentialReads(string path, int step) : base(path)
    {
        stream = Map.CreateViewStream(0, new FileInfo(path).Length);
        buffer = new byte[step];
    }
    public override void Turns(long count)
    {
        for (long i = 0; i < count; i++)
        {
            stream.Position = 0;
            while (stream.Read(buffer, 0, buffer.Length) == buffer.Length) { }
        }
    }
    public override void Dispose() { stream.Dispose(); base.Dispose(); }
}

class CopyFile : Loop
{
    readonly string source, target;
    public CopyFile(string source, string target) { this.source = source; this.target = target; }
    public override void Turns(long count) { for (long i = 0; i < count; i++) File.Copy(source, target, true); }
    public override void Dispose() { File.Delete(target); }
}

class Create : Loop
{
    readonly int size;
    public Create(int size) { this.size = size; }
    public override void Turns(long count)
    {
        for (long i = 0; i < count; i++)
            using (var map = MemoryMappedFile.CreateNew(null, size))
            using (var view = map.CreateViewAccessor())
                view.Write(0, (byte)1);
    }
}

class Attach : Loop
{
    readonly string path;
    public Attach(string path) { this.path = path; }
    public override void Turns(long count)
    {
        for (long i = 0; i < count; i++)
            using (var map = MemoryMappedFile.CreateFromFile(path, FileMode.Open))
            using (var view = map.CreateViewAccessor())
                Sink += view.ReadByte(0);
    }
}

class Locked : Loop
{
    protected readonly Mutex Lock;
    public Locked(string name) { Lock = new Mutex(false, name); }
    public override void Turns(long count)
    {
        for (long i = 0; i < count; i++) { Lock.WaitOne(); Lock.ReleaseMutex(); }
    }
    public override void Dispose() { Lock.Dispose(); }
}

// Two threads add to one number under the mutex. The second one is there before the time is taken.
class Contended : Locked
{
    readonly AutoResetEvent start = new AutoResetEvent(false);
    readonly Thread second;
    long wanted, done;
    int ready, go, ended;

    public Contended(string name) : base(name)
    {
        second = new Thread(() =>
        {
            while (start.WaitOne() && wanted >= 0)
            {
                Volatile.Write(ref ready, 1);
                while (Volatile.Read(ref go) == 0) { }
                Count();
                Volatile.Write(ref ended, 1);
            }
        }) { IsBackground = true };
        second.Start();
    }

    void Count()
    {
        long seen;
        do
        {
            Lock.WaitOne();
            seen = done++;
            Lock.ReleaseMutex();
        } while (seen < wanted);
    }

    public override double Measure(long count)
    {
        wanted = count;
        done = 0;
        ready = go = ended = 0;
        start.Set();
        while (Volatile.Read(ref ready) == 0) Thread.Yield();
        long begin = Stopwatch.GetTimestamp();
        Volatile.Write(ref go, 1);
        Count();
        double elapsed = (Stopwatch.GetTimestamp() - begin) * NanosecondsPerTick;
        while (Volatile.Read(ref ended) == 0) Thread.Yield();
        return elapsed;
    }

    public override void Dispose() { wanted = -1; start.Set(); second.Join(); base.Dispose(); }
}

class OpenLock : Loop
{
    readonly string name;
    public OpenLock(string name) { this.name = name; }
    public override void Turns(long count) { for (long i = 0; i < count; i++) Mutex.OpenExisting(name).Dispose(); }
}

static class Program
{
    static Loop Make(string[] words)
    {
        string path = words.Length > 2 ? words[2] : null;
        int size = words.Length > 3 && int.TryParse(words[3], out int number) ? number : 0;
        switch (words[1])
        {
            case "read_int32": return new ReadInt32(path);
            case "read_int64": return new ReadInt64(path);
            case "read_double": return new ReadDouble(path);
            case "write_int32": return new WriteInt32(path);
            case "write_int64": return new WriteInt64(path);
            case "write_double": return new WriteDouble(path);
            case "read_struct": return new ReadStruct(path);
            case "write_struct": return new WriteStruct(path);
            case "read_array_int": return new ReadArray<int>(path, size);
            case "read_array_double": return new ReadArray<double>(path, size);
            case "read_array_byte": return new ReadArray<byte>(path, size);
            case "write_array_int": return new WriteArray<int>(path, size);
            case "write_array_double": return new WriteArray<double>(path, size);
            case "random": return new RandomReads(path);
            case "random_stream": return new RandomStreamReads(path);
            case "sequential": return new SequentialReads(path, size);
            case "copy": return new CopyFile(path, words[3]);
            case "create": return new Create(int.Parse(path));
            case "attach": return new Attach(path);
            case "mutex_lock": return new Locked(path);
            case "mutex_contended": return new Contended(path);
            case "mutex_open": return new OpenLock(path);
            default: throw new ArgumentException("no loop of this kind: " + words[1]);
        }
    }

    static string Answer(List<Loop> loops, string[] words)
    {
        switch (words[0])
        {
            case "make":
                var loop = Make(words);
                loop.WarmUp();
                loops.Add(loop);
                return (loops.Count - 1).ToString();
            case "run":
                return ((long)loops[int.Parse(words[1])].Measure(long.Parse(words[2]))).ToString();
            case "drop":
                loops[int.Parse(words[1])].Dispose();
                loops[int.Parse(words[1])] = null;
                GC.Collect();
                return "ok";
            default:
                throw new ArgumentException("no such command: " + words[0]);
        }
    }

    static void Main()
    {
        var loops = new List<Loop>();
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            string answer;
            try { answer = Answer(loops, line.Split('\t')); }
            catch (Exception e) { answer = "error " + e.Message.Replace('\n', ' '); }
            Console.WriteLine(answer);
            Console.Out.Flush();
        }
        foreach (var loop in loops) loop?.Dispose();
    }
}
